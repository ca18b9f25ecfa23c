// Command hone-remote reads and writes a bucket of S3 or Google Cloud Storage for hone. It is a program of its own since its
// libraries would double the size and the start of hone. hone starts it with the bucket's URL and a socket as its standard input, on
// which it serves HTTP/2 (package bucket has the other side):
//
//	GET open                        whether the URL is one, and its bucket is there
//	GET size?name=                  the size of an object
//	GET read?name=&offset=          its bytes from there on; the header Size is that of the whole
//	PUT write?name=                 makes it, of Content-Length bytes: whole or not at all
//	GET list?prefix=                JSON lines; the last has no name
//
// What is not there is 404; another failure is a bucket.Failure. It ends when the socket does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	// hone ends the socket, after it has given up what is under way: the terminal's Ctrl-C is meant for hone.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "hone-remote is started by hone: hone push --help says more")
		os.Exit(2)
	}
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hone-remote is started by hone, with a socket as its standard input")
		os.Exit(2)
	}
	serve(conn, newServer(os.Args[1]))
}

// serve answers on one connection until it ends, and waits a moment for what is still being given up.
func serve(conn net.Conn, s *server) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	var busy sync.WaitGroup
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Done()
		s.ServeHTTP(w, r)
	})
	one := &listener{conn: make(chan net.Conn, 1), ended: make(chan struct{})}
	one.conn <- &connection{Conn: conn, ended: sync.OnceFunc(func() { close(one.ended) })}
	_ = (&http.Server{Handler: h, Protocols: &protocols}).Serve(one) // it ends with the connection
	idle := make(chan struct{})
	go func() { busy.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(3 * time.Second):
	}
}

// listener has one connection.
type listener struct {
	conn  chan net.Conn
	ended chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.ended:
		return nil, io.EOF
	}
}

func (l *listener) Close() error   { return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: "hone", Net: "unix"} }

type connection struct {
	net.Conn
	ended func()
}

func (c *connection) Close() error {
	c.ended()
	return c.Conn.Close()
}
