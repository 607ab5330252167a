// usage: echo serve | echo load PORT CONNECTIONS ROUNDS. Go makes its system calls itself.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

func streamByte(c, at int) byte { return byte(at*7 + c*13 + at>>8) }

func load(port string, c, rounds int, done chan error) {
	s, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		done <- err
		return
	}
	at := 0
	for round := 0; round < rounds; round++ {
		bytes := make([]byte, 1+round*37%5000)
		for i := range bytes {
			bytes[i] = streamByte(c, at+i)
		}
		if _, err = s.Write(bytes); err == nil {
			_, err = io.ReadFull(s, bytes)
		}
		for i := range bytes {
			if err == nil && bytes[i] != streamByte(c, at+i) {
				err = fmt.Errorf("other byte at %d", at+i)
			}
		}
		if err != nil {
			done <- err
			return
		}
		at += len(bytes)
	}
	done <- nil
}

func main() {
	if os.Args[1] == "serve" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println(l.Addr().(*net.TCPAddr).Port)
		go func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					// Without the splice that io.Copy would make of it.
					io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
					s.Close()
				}()
			}
		}()
	} else {
		connections, _ := strconv.Atoi(os.Args[3])
		rounds, _ := strconv.Atoi(os.Args[4])
		done := make(chan error)
		for c := 0; c < connections; c++ {
			go load(os.Args[2], c, rounds, done)
		}
		for c := 0; c < connections; c++ {
			if err := <-done; err != nil {
				panic(err)
			}
		}
		fmt.Printf("verified %d\n", connections*rounds)
	}
	bufio.NewReader(os.Stdin).ReadString('\n')
}
