package main

import (
	"maps"
	"testing"

	"github.com/spf13/pflag"
)

// The command lines of the earlier programs set what they set there: docs/migrating.md.
func TestCommandLinesOfEarlierPrograms(t *testing.T) {
	for _, test := range []struct {
		line []string
		want map[string]string
	}{
		{
			[]string{"controller", "-region", "us-east-1", "-targetgrouparn", "arn", "-service=web", "-port", "80", "-http", ":9"},
			map[string]string{"region": "us-east-1", "target-group-arn": "[arn]", "service": "web", "port": "80", "metrics-bind-address": ":9"},
		},
		{
			[]string{
				"sidecar", "-target-group-name", "web", "-target-id", "10.1.1.1", "-wait-in-service=false", "-wait-in-service-timeout", "2m",
				"-pre-register-command", "/bin/a", "-pre-register-timeout", "1s", "-post-register-command", "/bin/b", "-post-register-timeout", "2s",
				"-post-deregister-command", "/bin/c", "-post-deregister-timeout", "3s",
			},
			map[string]string{
				"target-group-name": "[web]", "target-id": "[10.1.1.1]", "wait-in-service": "false", "wait-in-service-timeout": "2m0s",
				"pre-register-command": "/bin/a", "pre-register-timeout": "1s", "post-register-command": "/bin/b", "post-register-timeout": "2s",
				"post-deregister-command": "/bin/c", "post-deregister-timeout": "3s",
			},
		},
		{
			[]string{"sidecar", "-pre-register-command-timeout", "1s", "-post-deregister-command-timeout", "2s"},
			map[string]string{"pre-register-timeout": "1s", "post-deregister-timeout": "2s"},
		},
	} {
		root := rootCommand(new(bool))
		command, flags, err := root.Find(doubleDashes(root, test.line))
		if err == nil {
			err = command.ParseFlags(flags)
		}
		if err != nil {
			t.Fatalf("%q: %v", test.line, err)
		}
		got := map[string]string{}
		command.Flags().Visit(func(f *pflag.Flag) { got[f.Name] = f.Value.String() })
		if !maps.Equal(got, test.want) {
			t.Errorf("%q sets %v, want %v", test.line, got, test.want)
		}
	}
}
