// Go under the measurements: the command line is that of the other peers, and a task is a goroutine.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

const readBuffer = 16 * 1024

func main() {
	if len(os.Args) < 2 || (os.Args[1] != "echo" && os.Args[1] != "micro") {
		fail("which of echo and micro?")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	maxSecs := flags.Int("max-secs", 120, "the process ends after so long")
	untilEOF := flags.Int("until-eof", 0, "1: it ends with its input")
	var serve server
	flags.StringVar(&serve.address, "addr", "127.0.0.1:0", "where it listens")
	flags.IntVar(&serve.threads, "threads", 1, "GOMAXPROCS")
	flags.IntVar(&serve.deadline, "deadline", 0, "milliseconds a read may take")
	flags.IntVar(&serve.block, "block", 0, "milliseconds for which a goroutine blocks its thread, again and again")
	flags.String("form", "after", "Go has one form of deadline")
	flags.String("buf", "eager", "a net.Conn cannot wait without a buffer")
	var m micro
	flags.StringVar(&m.bench, "bench", "", "the measurement")
	flags.Int64Var(&m.n, "n", 0, "operations in a sample")
	flags.IntVar(&m.samples, "samples", 3, "samples")
	flags.Int64Var(&m.us, "us", 0, "microseconds of a sleep or a period")
	flags.IntVar(&m.outstanding, "outstanding", 100_000, "timers that are armed all the time")
	flags.Float64Var(&m.secs, "secs", 1, "how long periodic timers tick")
	flags.Int64Var(&m.apart, "apart", 100, "microseconds between the phases of two periodic timers")
	flags.Parse(os.Args[2:])
	go boundLifetime(time.Duration(*maxSecs)*time.Second, *untilEOF == 1)
	if os.Args[1] == "echo" {
		fail(serve.run().Error())
	}
	m.threads = serve.threads
	m.run()
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "go peer:", reason)
	os.Exit(2)
}

// boundLifetime ends the process after most, and with its parent or, with untilEOF, with its input. In the second case it
// sleeps once, because some measurements count how often the process wakes.
func boundLifetime(most time.Duration, untilEOF bool) {
	if untilEOF {
		time.AfterFunc(most, func() { os.Exit(1) })
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	parent, end := os.Getppid(), time.Now().Add(most)
	for os.Getppid() == parent && time.Now().Before(end) {
		time.Sleep(time.Second)
	}
	os.Exit(1)
}

type server struct {
	address                  string
	threads, deadline, block int
}

func (s *server) run() error {
	runtime.GOMAXPROCS(s.threads)
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	fmt.Println("LISTENING", listener.Addr())
	if s.block > 0 {
		go blockAgainAndAgain(time.Duration(s.block) * time.Millisecond)
	}
	limit := time.Duration(s.deadline) * time.Millisecond
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(conn, limit)
	}
}

// blockAgainAndAgain holds its thread in a system call, which the scheduler has to work around.
func blockAgainAndAgain(block time.Duration) {
	for {
		time.Sleep(100 * time.Millisecond)
		span := syscall.NsecToTimespec(block.Nanoseconds())
		for syscall.Nanosleep(&span, &span) == syscall.EINTR {
		}
	}
}

// echo echoes until the connection ends, which the load generator judges. A new connection has TCP_NODELAY.
func echo(conn net.Conn, limit time.Duration) {
	defer conn.Close()
	buffer := make([]byte, readBuffer)
	for {
		if limit > 0 {
			conn.SetReadDeadline(time.Now().Add(limit))
		}
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}
