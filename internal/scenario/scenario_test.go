package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

var update = flag.Bool("update", false, "write what happens into testdata")

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { play(t, file) })
	}
}

// play runs a file in a bubble and compares what happens with what it says.
func play(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	synctest.Test(t, func(t *testing.T) {
		world, err := NewWorld(synctest.Wait)
		if err != nil {
			t.Fatal(err)
		}
		defer world.Close()
		for i := range blocks {
			happened, err := blocks[i].run(world)
			if err != nil {
				t.Errorf("%s:%d: %v", file, blocks[i].line, err)
				happened = append(happened, fmt.Sprint("error: ", err))
			}
			if got, want := strings.Join(happened, "\n"), strings.Join(blocks[i].output, "\n"); got != want && !*update {
				t.Errorf("%s:%d: %s\ngot:\n%s\nwant:\n%s", file, blocks[i].line, strings.Join(blocks[i].commands, "; "), got, want)
			}
			blocks[i].output = happened
		}
	})
	if *update {
		if err := os.WriteFile(file, []byte(format(blocks)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (b block) run(world *World) ([]string, error) {
	var happened []string
	for _, line := range b.commands {
		lines, err := world.Run(line)
		happened = append(happened, lines...)
		if err != nil {
			return happened, fmt.Errorf("%s: %w", line, err)
		}
	}
	return happened, nil
}

func TestFormatWritesWhatParseReads(t *testing.T) {
	for _, text := range []string{
		"# only words\n",
		"# words\n\ngroup\n----\n\npod a 10.0.0.1\nready a\n----\n0s said\n0s more\n",
		"group\n----\n\n# the end\n",
	} {
		blocks, err := parse(text)
		if err != nil || format(blocks) != text {
			t.Errorf("got %q, %v\nwant %q", format(blocks), err, text)
		}
	}
	for _, text := range []string{"group\n", "group\n\npod\n----\n"} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), separator) {
			t.Errorf("%q: got %v, want an error that asks for %s", text, err, separator)
		}
	}
}

func TestCommandsThatMakeNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, err := NewWorld(synctest.Wait)
		if err != nil {
			t.Fatal(err)
		}
		defer world.Close()
		if _, err := world.Run("pod a 10.0.0.1"); err == nil {
			t.Error("a pod was taken before there was a group")
		}
		if _, err := world.Run("group"); err != nil {
			t.Error(err)
		}
		for _, line := range []string{
			"dance", "ready nobody", "delete pod a", "pod a here", "pod a 10.0.0.1 port=x", "service web port=80",
			"aws dance", "aws colour=blue", "aws quota=x", "aws hang RegisterTargets x", "aws add here", "advance x", "expect x", "expect in 10.9.9.9", "expect synced",
		} {
			if _, err := world.Run(line); err == nil {
				t.Errorf("%s: got no error", line)
			}
		}
	})
}
