module netpoll/apps

go 1.25
