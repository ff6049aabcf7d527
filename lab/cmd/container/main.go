// Command container is what runs in the containers of real nodes: the apps that
// loopback nodes run as functions, as one executable. Its first argument is the
// app, web, echo, job or pause; others are the app's.
//
// A container knows less than a function: the pod's name is that of its host, the
// namespace that of its ServiceAccount's token, the node the value of LAB_NODE,
// if there is one. It listens on port 8080 unless told otherwise. Annotations are
// not seen. What becomes of it is told by notes in its log, see [app.Note].
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/app"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/wire"
)

func main() {
	os.Exit(run(os.Args, os.Stdout))
}

func run(args []string, stdout io.Writer) int {
	apps := map[string]app.App{"web": app.Web, "echo": app.Echo, "job": app.Job, "pause": app.Pause}
	if len(args) < 2 || apps[args[1]] == nil {
		fmt.Fprintln(stdout, "usage: container web|echo|job|pause [FLAGS]")
		return app.ExitUsage
	}
	terminate := make(chan struct{})
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		app.Note{Event: app.Terminated, At: time.Now()}.Print(stdout)
		close(terminate)
	}()
	// Nobody is told before the kernel has killed it.
	code := apps[args[1]](context.Background(), container(args, terminate, stdout))
	app.Note{Event: app.Exited, Code: code, At: time.Now()}.Print(stdout)
	return code
}

func container(args []string, terminate <-chan struct{}, stdout io.Writer) *app.Container {
	host, _ := os.Hostname()
	namespace, _ := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	address, _ := netip.ParseAddr(os.Getenv("LAB_ADDRESS"))
	return &app.Container{
		Pod:        host,
		Namespace:  strings.TrimSpace(string(namespace)),
		Node:       os.Getenv("LAB_NODE"),
		Name:       cmp.Or(os.Getenv("LAB_CONTAINER"), args[1]),
		Args:       args[2:],
		Env:        os.Environ(),
		Address:    address,
		Terminate:  terminate,
		Annotation: func(string) string { return "" },
		Started:    func() { app.Note{Event: app.Started, At: time.Now()}.Print(stdout) },
		Output:     stdout,
		Bind:       netip.IPv4Unspecified(),
		Wire:       &wire.Wire{},
	}
}
