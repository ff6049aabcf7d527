//go:build lab_kube

// Command kubelet is the kubelet of the lab's real nodes. It is an executable of
// its own, apart from cmd/kube, so that only those who want real nodes compile
// and link it.
//
// It is built with the tag lab_kube only, by package kube of the lab, so that
// go test ./... and linters do not compile Kubernetes.
package main

import (
	"context"
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register" // as the kubelet of a release has
	"k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	os.Exit(cli.Run(app.NewKubeletCommand(context.Background())))
}
