package realnode

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/targetgroupcontroller/targetgroupcontroller/image"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/kube"
	"github.com/targetgroupcontroller/targetgroupcontroller/lab/vpc"
)

// Tag of the images on real nodes. Without a tag the kubelet would ask the registry
// for a newer image each time.
const Tag = ":1"

const pauseImage = "lab.local/pause" + Tag

// images is a registry.
type images struct {
	address string // with port
	close   func() error
}

// serveImages starts a registry, which keeps what it gets in a folder.
func serveImages(dir string) (*images, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(vpc.Real().Gateway().String(), "0"))
	if err != nil {
		return nil, fmt.Errorf("serve a registry: %w", err)
	}
	server := &http.Server{
		Handler: registry.New(
			registry.WithBlobHandler(registry.NewDiskBlobHandler(dir)),
			registry.Logger(log.New(io.Discard, "", 0)),
		),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go server.Serve(listener)
	return &images{listener.Addr().String(), server.Close}, nil
}

// fill makes in a folder what there is at first: web, echo, job and pause, which hold
// one program, and tgc, which holds the project's.
func (i *images) fill(ctx context.Context, lab, dir string) error {
	container := filepath.Join(dir, "container")
	if err := compile(ctx, lab, container, "./cmd/container"); err != nil {
		return err
	}
	if err := compile(ctx, filepath.Dir(lab), dir+string(filepath.Separator), "./cmd/tgc", "./cmd/tgc-wait"); err != nil {
		return err
	}
	apps, err := image.Pack(container)
	if err != nil {
		return err
	}
	for _, app := range []string{"web", "echo", "job", "pause"} {
		if err := i.push(ctx, apps, app, "/container", app); err != nil {
			return err
		}
	}
	tgc, err := image.Pack(filepath.Join(dir, "tgc"), filepath.Join(dir, "tgc-wait"))
	if err != nil {
		return err
	}
	return i.push(ctx, tgc, "tgc", "/tgc")
}

func compile(ctx context.Context, module, output string, packages ...string) error {
	args := append([]string{"build", "-ldflags=-s -w", "-o", output}, packages...)
	if _, err := kube.GoTool(ctx, module, args...); err != nil {
		return fmt.Errorf("build %v: %w", packages, err)
	}
	return nil
}

func (i *images) push(ctx context.Context, programs *image.Programs, name string, entrypoint ...string) error {
	made, err := programs.Image(image.Config{Entrypoint: entrypoint})
	if err != nil {
		return err
	}
	return image.Push(ctx, i.address+"/"+name+Tag, made)
}
