// Package image makes container images of Go programs, without Docker and without a
// base: the root of their file system holds the programs and nothing else. The same
// programs, labels and time give the same bytes, wherever and whenever they are
// packed.
package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user is nobody's in particular, as a number: Kubernetes can tell of no other that it
// is not root.
const user = "65532:65532"

// Programs are what an image holds: executables, all for the same platform.
type Programs struct {
	platform v1.Platform
	layer    v1.Layer
}

// Pack reads executables that go built for Linux without C. Each is found in the root
// of the image under its own name.
func Pack(paths ...string) (*Programs, error) {
	if len(paths) == 0 {
		return nil, errors.New("pack an image: no programs are given")
	}
	var platforms []v1.Platform
	for _, path := range paths {
		platform, err := platformOf(path)
		if err != nil {
			return nil, err
		}
		platforms = append(platforms, platform)
	}
	for i, platform := range platforms {
		if !platform.Equals(platforms[0]) {
			return nil, fmt.Errorf("%s is for %s and %s for %s: an image is for one platform",
				paths[0], platforms[0], paths[i], platform)
		}
	}
	root, err := rootOf(paths)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(root)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("pack an image: %w", err)
	}
	return &Programs{platform: platforms[0], layer: layer}, nil
}

// platformOf tells for what a program was built, and refuses one that would need files
// that the image has not.
func platformOf(path string) (v1.Platform, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return v1.Platform{}, fmt.Errorf("%s is no program that go built: %w", path, err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["GOOS"] != "linux" || settings["CGO_ENABLED"] != "0" {
		return v1.Platform{}, fmt.Errorf("%s was built with GOOS=%s CGO_ENABLED=%s: build it with GOOS=linux CGO_ENABLED=0",
			path, settings["GOOS"], settings["CGO_ENABLED"])
	}
	return v1.Platform{OS: settings["GOOS"], Architecture: settings["GOARCH"]}, nil
}

// rootOf is a file system that holds the files as everybody's programs.
func rootOf(paths []string) ([]byte, error) {
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	byName := func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) }
	for _, path := range slices.SortedFunc(slices.Values(paths), byName) {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Name: filepath.Base(path), Mode: 0o755, Size: int64(len(content)), Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("pack %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack an image: %w", err)
	}
	return root.Bytes(), nil
}

// Config is what an image tells besides what it holds.
type Config struct {
	// Entrypoint is what runs: a path such as /tgc, and arguments.
	Entrypoint []string
	// Labels are also annotations of the image, which registries show.
	Labels map[string]string
	// Created should be when the source changed last. The zero value is 1970.
	Created time.Time
}

// Image is an image that runs as a user who is not root.
func (p *Programs) Image(c Config) (v1.Image, error) {
	if c.Created.IsZero() {
		c.Created = time.Unix(0, 0)
	}
	created := v1.Time{Time: c.Created.UTC()}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: p.layer, History: v1.History{Created: created}})
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = p.platform.OS, p.platform.Architecture, created
	file.Config = v1.Config{User: user, WorkingDir: "/", Entrypoint: c.Entrypoint, Labels: c.Labels}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return nil, fmt.Errorf("make an image: %w", err)
	}
	return mutate.Annotations(image, c.Labels).(v1.Image), nil
}

// Index is one name for images of several platforms, in their order.
func Index(annotations map[string]string, images ...v1.Image) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		file, err := image.ConfigFile()
		if err != nil {
			return nil, fmt.Errorf("make an index: %w", err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: file.Platform()},
		})
	}
	return mutate.Annotations(index, annotations).(v1.ImageIndex), nil
}
