// The programs in Go: the command line is that of the other peers.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
)

func main() {
	if len(os.Args) < 4 || os.Args[1] != "serve" {
		fail(errors.New("serve go APP"))
	}
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	workers := flags.Int("workers", 2, "GOMAXPROCS")
	folder := flags.String("folder", "", "the certificate and the page")
	target := flags.String("target", "", "the target of a proxy")
	flags.Parse(os.Args[4:])
	runtime.GOMAXPROCS(*workers)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	port := listener.Addr().(*net.TCPAddr).Port
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	fail(err)
	fmt.Println(port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	switch app := os.Args[3]; app {
	case "http1", "http2", "tls1", "tls2":
		fail(pages(listener, *folder, app[:3] == "tls", app[len(app)-1] == '2'))
	case "resp":
		fail(accept(listener, (&table{values: map[string][]byte{}}).serve))
	case "relay":
		fail(accept(listener, func(conn net.Conn) { relay(conn, *target) }))
	case "dns":
		fail(answerAll(socket))
	default:
		fail(errors.New("no program " + app))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "go:", err)
		os.Exit(2)
	}
}

func accept(listener net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

func pages(listener net.Listener, folder string, tls, h2 bool) error {
	large, err := os.ReadFile(filepath.Join(folder, "large"))
	if err != nil {
		return err
	}
	small := []byte("Hello, world!")
	handler := func(w http.ResponseWriter, r *http.Request) {
		page := small
		if r.URL.Path != "/" {
			page = large
		}
		// The load judges how a connection ends.
		w.Header().Set("Content-Length", strconv.Itoa(len(page)))
		w.Write(page)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2 && tls)
	protocols.SetUnencryptedHTTP2(h2 && !tls)
	// The load judges how a handshake ends, too.
	quiet := log.New(io.Discard, "", 0)
	server := &http.Server{Handler: http.HandlerFunc(handler), Protocols: protocols, ErrorLog: quiet}
	if !tls {
		return server.Serve(listener)
	}
	return server.ServeTLS(listener, filepath.Join(folder, "certificate.pem"), filepath.Join(folder, "key.pem"))
}

// relay copies both ways to the ends of both.
func relay(conn net.Conn, target string) {
	defer conn.Close()
	other, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer other.Close()
	var both sync.WaitGroup
	oneWay := func(from, to net.Conn) {
		defer both.Done()
		// The client and the target judge how a connection ends.
		io.Copy(to, from)
		to.(*net.TCPConn).CloseWrite()
	}
	both.Add(2)
	go oneWay(conn, other)
	go oneWay(other, conn)
	both.Wait()
}

// answerAll answers each query of type A with 192.0.2.1.
func answerAll(socket *net.UDPConn) error {
	record := []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1}
	query := make([]byte, 512, 1024)
	for {
		n, from, err := socket.ReadFromUDPAddrPort(query)
		if err != nil {
			return err
		}
		if n < 12 || query[2]&0x80 != 0 || query[4] != 0 || query[5] != 1 {
			continue
		}
		end := bytes.IndexByte(query[12:n], 0)
		if end < 0 || 12+end+5 > n {
			continue
		}
		length := 12 + end + 5
		answer := query[:length]
		isAddress := bytes.Equal(query[12+end+1:length], []byte{0, 1, 0, 1})
		answer[2], answer[3] = 0x84|query[2]&1, 0
		copy(answer[6:12], []byte{0, 0, 0, 0, 0, 0})
		if isAddress {
			answer[7] = 1
			answer = append(answer, record...)
		}
		if _, err := socket.WriteToUDPAddrPort(answer, from); err != nil {
			return err
		}
	}
}

// table is a server of Redis's protocol.
type table struct {
	lock   sync.Mutex
	values map[string][]byte
}

// serve answers all commands that have come by one write.
func (t *table) serve(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 16*1024), bufio.NewWriterSize(conn, 16*1024)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		t.answer(words, out)
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func command(in *bufio.Reader) ([][]byte, error) {
	count, err := number(in, '*')
	if err != nil {
		return nil, err
	}
	words := make([][]byte, 0, count)
	for range count {
		length, err := number(in, '$')
		if err != nil {
			return nil, err
		}
		word := make([]byte, length+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, word[:length])
	}
	return words, nil
}

func number(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != kind {
		return 0, errors.New("not a command of Redis")
	}
	value, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err == nil && (value < 0 || value > 512<<20) {
		err = errors.New("not a command of Redis")
	}
	return value, err
}

func (t *table) answer(words [][]byte, out *bufio.Writer) {
	name := ""
	if len(words) > 0 {
		name = string(bytes.ToUpper(words[0]))
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	switch {
	case name == "PING":
		out.WriteString("+PONG\r\n")
	case name == "SET" && len(words) >= 3:
		t.values[string(words[1])] = words[2]
		out.WriteString("+OK\r\n")
	case name == "GET" && len(words) == 2:
		value, found := t.values[string(words[1])]
		if !found {
			out.WriteString("$-1\r\n")
			return
		}
		fmt.Fprintf(out, "$%d\r\n", len(value))
		out.Write(value)
		out.WriteString("\r\n")
	case name == "CONFIG":
		out.WriteString("*0\r\n")
	default:
		out.WriteString("-ERR unknown command\r\n")
	}
}
