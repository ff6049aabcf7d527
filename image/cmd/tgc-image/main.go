// Command tgc-image makes the image of tgc from its programs, see the Makefile of the
// repository:
//
//	tgc-image -version V -revision R -created SECONDS [-output FOLDER] [-push NAME] FOLDER...
//
// Each folder holds the programs for one platform.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/targetgroupcontroller/targetgroupcontroller/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "tgc-image:", err)
		os.Exit(1)
	}
}

type options struct {
	version, revision string
	created           int64
	output, push      string
	folders           []string
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("tgc-image", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.StringVar(&o.version, "version", "dev", "version of the programs")
	flags.StringVar(&o.revision, "revision", "unknown", "commit that they are built from")
	flags.Int64Var(&o.created, "created", 0, "time of that commit, in seconds since 1970")
	flags.StringVar(&o.output, "output", "", "folder that becomes an OCI image layout")
	flags.StringVar(&o.push, "push", "", "name with a tag that the image gets in a registry")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.folders = flags.Args()
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	index, err := o.build()
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if o.output != "" {
		if err := o.write(index); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s is in %s\n", digest, o.output)
	}
	if o.push != "" {
		if err := image.Push(ctx, o.push, index); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s is pushed to %s\n", digest, o.push)
	}
	return nil
}

// build joins the images of all platforms.
func (o options) build() (v1.ImageIndex, error) {
	config := image.Config{Entrypoint: []string{"/tgc"}, Labels: o.labels(), Created: time.Unix(o.created, 0)}
	var images []v1.Image
	for _, folder := range o.folders {
		programs, err := image.Pack(filepath.Join(folder, "tgc"), filepath.Join(folder, "tgc-wait"))
		if err != nil {
			return nil, err
		}
		one, err := programs.Image(config)
		if err != nil {
			return nil, err
		}
		images = append(images, one)
	}
	if len(images) == 0 {
		return nil, errors.New("give the folders that hold tgc and tgc-wait, one for each platform")
	}
	return image.Index(config.Labels, images...)
}

// labels are those of https://specs.opencontainers.org/image-spec/annotations.
func (o options) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "tgc",
		prefix + "description": "Keeps AWS target groups in step with the pods of a Kubernetes cluster",
		prefix + "source":      "https://github.com/targetgroupcontroller/targetgroupcontroller",
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     o.version,
		prefix + "revision":    o.revision,
		prefix + "created":     time.Unix(o.created, 0).UTC().Format(time.RFC3339),
	}
}

// write makes a folder a layout of one index, which is named after the version.
func (o options) write(index v1.ImageIndex) error {
	path, err := layout.Write(o.output, empty.Index)
	if err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	name := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": o.version})
	if err := path.AppendIndex(index, name); err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	return nil
}
