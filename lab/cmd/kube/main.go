//go:build lab_kube

// Command kube is the control plane of the lab in one executable: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler.
//
// The part is chosen by the name it is called by (a link named etcd runs etcd)
// or else by its first argument; everything after that is the part's own
// command line. One executable instead of four shares its code on disk and in
// the build cache: linking is the slowest part of a warm build.
//
// It is built with the tag lab_kube only, by package kube of the lab, so that
// go test ./... and linters do not compile Kubernetes.
package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// part runs one component with its command line, args[0] being its name, and
// returns the exit code.
type part func(args []string) int

// parts lists every component by the name it is known by.
func parts() map[string]part {
	return map[string]part{
		"etcd":                    runEtcd,
		"kube-apiserver":          kubernetes(apiserver.NewAPIServerCommand),
		"kube-controller-manager": kubernetes(controllermanager.NewControllerManagerCommand),
		"kube-scheduler":          kubernetes(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	}
}

func main() {
	os.Exit(run(os.Args, os.Stderr))
}

func run(args []string, stderr io.Writer) int {
	known := parts()
	for i := range min(len(args), 2) {
		if p, ok := known[filepath.Base(args[i])]; ok {
			os.Args = args[i:]
			return p(args[i:])
		}
	}
	names := slices.Sorted(maps.Keys(known))
	fmt.Fprintf(stderr, "usage: kube PART [FLAGS]\nPART is one of: %s\n", strings.Join(names, ", "))
	return 2
}

// runEtcd never returns on its own: etcd ends the process itself.
func runEtcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

// kubernetes wraps the cobra command of a Kubernetes component. The command is
// made only when the part is chosen: making it registers flags and feature
// gates of the whole process, and two components would collide.
func kubernetes(command func() *cobra.Command) part {
	return func(args []string) int {
		c := command()
		c.SetArgs(args[1:])
		return cli.Run(c)
	}
}
