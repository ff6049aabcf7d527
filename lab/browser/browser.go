// Package browser is a headless Chromium for tests of pages. It does what people
// do, and sees what they see or are read: it finds things by their accessible
// names, presses keys, looks at the accessibility tree and takes pictures.
//
// Every method fails the test it belongs to if it cannot do its job; none waits
// for a time, all wait for conditions. The browser resolves no names and so
// reaches loopback only.
package browser

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// executables are the names of Chromium, first that of Debian's package.
var executables = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

const missing = "there is no Chromium here, so the pages are not looked at: apt-get install chromium fonts-dejavu-core"

// Browser is a running browser. It may be shared by tests that run one after the
// other.
type Browser struct{ ctx context.Context }

// Start starts a browser that ends with the test. The test is skipped where there
// is no Chromium; in CI (environment variable CI=true) it fails instead.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := find()
	if path == "" && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	if path == "" {
		t.Skip(missing)
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options(path, t.TempDir())...)
	ctx, stop := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("the browser did not end in order: %v", err)
		}
		stop()
		end()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return &Browser{ctx: ctx}
}

func find() string {
	for _, name := range executables {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// options make a browser that keeps to itself.
func options(path, profile string) []chromedp.ExecAllocatorOption {
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
	}
	for _, flag := range []string{
		"disable-background-networking", "disable-background-timer-throttling", "disable-breakpad", "disable-component-update",
		"disable-default-apps", "disable-dev-shm-usage", "disable-extensions", "disable-quic", "disable-renderer-backgrounding",
		"disable-sync", "metrics-recording-only",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	options = append(options,
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // which root cannot have
	}
	return options
}
