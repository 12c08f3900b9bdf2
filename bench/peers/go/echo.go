package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// echo_blocking_*: descriptors that block, with syscall.Read and Write, which tell the scheduler of each call.
// echo_net_*: package net, whose descriptors don't block: a goroutine parks until the poller finds it something to read.
// See workloads/echo.cpp, and workloads/echo.hpp for what a server has to do.

type echoShape struct {
	work        string
	connections int
	closed      bool // no pauses
	procs       int
}

const echoMessage = 64
const echoBuffer = 4096 // of those without pauses

// startEchoClient starts the client's process, and returns a channel for the figures that it will have. Its failure is
// that of this process, so nobody has to wait with a limit.
func startEchoClient(s settings, shape echoShape, port int) chan []figure {
	if s.client == "" {
		check(shape.work, fmt.Errorf("--client, the path of handoff_bench, is missing"))
	}
	arguments := []string{"--echo-client", strconv.Itoa(port), strconv.Itoa(shape.connections)}
	if shape.closed {
		arguments = append(arguments, "--closed")
	}
	if s.quick {
		arguments = append(arguments, "--quick")
	}
	var report bytes.Buffer
	client := exec.Command(s.client, arguments...)
	client.Stdout, client.Stderr = &report, os.Stderr
	check("the echo client", client.Start())
	figures := make(chan []figure, 1)
	go func() {
		check("the echo client", client.Wait())
		var requests, p50, p99, p999, longest, cpu, threads, each float64
		_, err := fmt.Sscan(report.String(), &requests, &p50, &p99, &p999, &longest, &cpu, &threads, &each)
		check("the echo client's report", err)
		value := p50
		if shape.closed {
			value = each
		}
		figures <- []figure{{shape.work, shape.procs, value, "µs", []key{{"p50", p50}, {"p99", p99}, {"p999", p999}, {"max", longest},
			{"cpu_us", cpu}, {"requests", requests}, {"threads", threads}}}}
	}()
	return figures
}

// ---- echo_blocking_*

// blockingListener returns a socket on the loopback interface, and the port that it has got.
func blockingListener(shape echoShape) (int, int) {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	check("socket", err)
	check("bind", syscall.Bind(listener, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check("listen", syscall.Listen(listener, shape.connections))
	address, err := syscall.Getsockname(listener)
	check("getsockname", err)
	return listener, address.(*syscall.SockaddrInet4).Port
}

// answerBlocking serves a connection until its end. An error is an end, too; the client will tell of it.
func answerBlocking(connection int) {
	var message [echoMessage]byte
	for {
		got, err := syscall.Read(connection, message[:])
		if err != nil || got == 0 {
			break
		}
		if put, _ := syscall.Write(connection, message[:got]); put != got {
			break
		}
	}
	syscall.Close(connection)
}

func (shape echoShape) blocking(s settings) []figure {
	runtime.GOMAXPROCS(shape.procs)
	listener, port := blockingListener(shape)
	figures := startEchoClient(s, shape, port)
	var all sync.WaitGroup
	all.Add(shape.connections)
	for i := 0; i < shape.connections; i++ {
		connection, _, err := syscall.Accept4(listener, syscall.SOCK_CLOEXEC)
		check("accept", err)
		go func() {
			answerBlocking(connection)
			all.Done()
		}()
	}
	all.Wait()
	return <-figures
}

// ---- echo_net_*

func answer(connection net.Conn, buffer int) {
	defer connection.Close()
	message := make([]byte, buffer)
	for {
		got, err := connection.Read(message)
		if err != nil {
			return
		}
		if _, err := connection.Write(message[:got]); err != nil {
			return
		}
	}
}

func (shape echoShape) net(s settings) []figure {
	runtime.GOMAXPROCS(shape.procs)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check("listen", err)
	figures := startEchoClient(s, shape, listener.Addr().(*net.TCPAddr).Port)
	buffer := echoMessage
	if shape.closed {
		buffer = echoBuffer
	}
	var all sync.WaitGroup
	all.Add(shape.connections)
	for i := 0; i < shape.connections; i++ {
		connection, err := listener.Accept()
		check("accept", err)
		go func() {
			answer(connection, buffer)
			all.Done()
		}()
	}
	all.Wait()
	return <-figures
}

// echoClosed measures the same on two Ps and on one.
func echoClosed(work string, connections int) func(settings) []figure {
	return func(s settings) []figure {
		return append(echoShape{work, connections, true, 2}.net(s), echoShape{work + "_1p", connections, true, 1}.net(s)...)
	}
}
