// Package app holds what runs in the containers of the lab: programs that are
// functions of this process instead of images, chosen by the image's name.
//
//	lab.local/web    an HTTP server, tuned by arguments; see [Web]
//	lab.local/echo   the same without HTTP; see [Echo]
//	lab.local/job    ends after a while with an exit code; see [Job]
//	lab.local/pause  does nothing until SIGTERM; see [Pause]
//	lab.local/host   runs the container's command as a process of this machine;
//	                 see [Host]
//
// A tag or digest after the name is ignored.
package app

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/targetgroupcontroller/targetgroupcontroller/lab/wire"
)

// App is the program of a container. It returns the exit code.
//
// It runs until it wants to end; when Terminate is closed it has received
// SIGTERM; when kill ends it has been killed already, its network is gone and
// the exit code is no longer asked for: return soon.
type App func(kill context.Context, c *Container) int

// Container is what an app is given.
type Container struct {
	Pod, Namespace, Node, Name string

	// Command and Args as in the container's spec, variables expanded.
	Command, Args []string
	// Env as in os.Environ.
	Env []string
	// Address is the pod's address in the cluster.
	Address netip.Addr
	// Ports of the container's spec, in their order.
	Ports []int32
	// Terminate is closed at SIGTERM.
	Terminate <-chan struct{}
	// Annotation reads an annotation of the pod as it is now.
	Annotation func(key string) string
	// Started is to be called once, as soon as the program runs. Probes begin
	// after it. An app that listens at once calls it after that.
	Started func()
	// Output takes what a container would print.
	Output io.Writer

	// Bind is the address on this machine that stands for the pod's.
	Bind netip.Addr
	// Wire is the container's network.
	Wire *wire.Wire
}

// Listen binds a port of the pod.
func (c *Container) Listen(port uint16) (net.Listener, error) {
	return c.Wire.Listen(netip.AddrPortFrom(c.Bind, port))
}

// Getenv is the value of a variable of the container, "" without it.
func (c *Container) Getenv(key string) string {
	for i := len(c.Env) - 1; i >= 0; i-- {
		if name, value, _ := strings.Cut(c.Env[i], "="); name == key {
			return value
		}
	}
	return ""
}

// Exit codes as a container runtime reports them.
const (
	ExitUsage      = 2
	ExitNotStarted = 128
	ExitKilled     = 128 + 9
	ExitTerminated = 128 + 15
)

// BuiltIn lists the apps of this package by image name.
func BuiltIn() map[string]App {
	return map[string]App{
		"lab.local/web":   Web,
		"lab.local/echo":  Echo,
		"lab.local/job":   Job,
		"lab.local/pause": Pause,
		"lab.local/host":  Host,
	}
}

// Name is an image without its tag and digest.
func Name(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}

// Pause does nothing until SIGTERM.
func Pause(kill context.Context, c *Container) int {
	c.Started()
	select {
	case <-kill.Done():
		return ExitKilled
	case <-c.Terminate:
		return 0
	}
}
