package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// parseSidecar reads a command line as `tgc sidecar` does, without its addresses.
func parseSidecar(t *testing.T, arguments ...string) Sidecar {
	t.Helper()
	var s Sidecar
	set := pflag.NewFlagSet("sidecar", pflag.ContinueOnError)
	s.AddFlags(set)
	if err := set.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSidecarCheck(t *testing.T) {
	const fine = "--target-group-name web --target-id 10.1.2.3 "
	for _, test := range []struct {
		arguments string
		wants     []string // in the error; none for no error
	}{
		{fine, nil},
		{fine + "--target-group-arn " + arn + " --target-group-name api --port 8080", nil},
		{fine + "--target-id 2600::1", nil},
		{fine + "--wait-for http://127.0.0.1:8080/ready --wait-for tcp://[::1]:8080 --bind-address 0", nil},
		{fine + "--pre-register-command /bin/true --fail-on pre-register,in-service", nil},
		{"--target-id 10.1.2.3", []string{"neither --target-group-arn nor --target-group-name is set"}},
		{"--target-id 10.1.2.3 --target-group-name -web --target-group-arn x", []string{`--target-group-name "-web"`, `--target-group-arn: "x" is not an ARN`}},
		{"--target-group-name web", []string{"--target-id: want the pod's address"}},
		{"--target-group-name web --target-id i-0123", []string{`--target-id "i-0123"`}},
		{"--target-group-name web --target-id 127.0.0.1", []string{`--target-id "127.0.0.1"`}},
		{fine + "--target-id 10.1.2.4", []string{"--target-id 10.1.2.3,10.1.2.4: want one address"}},
		{fine + "--port 65536", []string{"--port 65536: want 1 to 65535"}},
		{fine + "--region Frankfurt", []string{`--region "Frankfurt"`}},
		{fine + "--assume-role-external-id x", []string{"needs --assume-role-arn"}},
		{fine + "--wait-for tcp://web --wait-for 8080", []string{`--wait-for "tcp://web"`, `--wait-for "8080"`}},
		{fine + "--wait-in-service-timeout 0s", []string{"--wait-in-service=false"}},
		{fine + "--sweep-interval 1ms", []string{"--sweep-interval 1ms"}},
		{fine + "--shutdown-period 40s", []string{"--shutdown-period 40s: want 0 or more, and less than --grace-period 30s"}},
		{fine + "--hold -1s --start-spread -1s --grace-period 0s", []string{"--hold -1s", "--start-spread -1s", "--grace-period 0s"}},
		{fine + "--post-register-timeout 0s", []string{"--post-register-timeout 0s: want more than 0"}},
		{fine + "--fail-on everything", []string{`--fail-on "everything": want one of pre-register`}},
		{fine + "--hook-dir /hook --bind-address 0", []string{`--hook-dir "/hook" needs --bind-address`}},
		{fine + "--bind-address 9480 --log-level loud", []string{`--bind-address "9480"`, `--log-level "loud"`}},
	} {
		s := parseSidecar(t, strings.Fields(test.arguments)...)
		expect(t, test.arguments, s.Check(), test.wants)
	}
}

func TestSidecarFindsItsAddress(t *testing.T) {
	for _, test := range []struct {
		name        string
		arguments   []string
		environment map[string]string
		interfaces  []string
		wants       []string // the addresses; none for an error
	}{
		{"flag", []string{"--target-id=10.0.0.1"}, map[string]string{"POD_IP": "10.0.0.2"}, nil, []string{"10.0.0.1"}},
		{"downward API", nil, map[string]string{"POD_IP": "10.0.0.2"}, []string{"10.0.0.3"}, []string{"10.0.0.2"}},
		{"both families", nil, map[string]string{"POD_IPS": "10.0.0.2,2600::2"}, nil, []string{"10.0.0.2", "2600::2"}},
		{"empty variable", nil, map[string]string{"POD_IP": ""}, []string{"10.0.0.3"}, []string{"10.0.0.3"}},
		{"only interface", nil, nil, []string{"127.0.0.1", "::1", "10.0.0.3", "fe80::1"}, []string{"10.0.0.3"}},
		{"several interfaces", nil, nil, []string{"10.0.0.3", "10.0.0.4"}, nil},
		{"no interface", nil, nil, []string{"127.0.0.1"}, nil},
	} {
		s := parseSidecar(t, test.arguments...)
		var interfaces []netip.Addr
		for _, addr := range test.interfaces {
			interfaces = append(interfaces, netip.MustParseAddr(addr))
		}
		err := s.Complete(func(name string) (string, bool) { v, found := test.environment[name]; return v, found }, interfaces)
		if test.wants == nil {
			if err == nil || !strings.Contains(err.Error(), "POD_IP from the field status.podIP") {
				t.Errorf("%s: got %v, want an error that names the remedy", test.name, err)
			}
			continue
		}
		var got []string
		addrs, _ := s.addresses()
		for _, addr := range addrs {
			got = append(got, addr.String())
		}
		if err != nil || !slices.Equal(got, test.wants) {
			t.Errorf("%s: got %v, %v, want %v", test.name, got, err, test.wants)
		}
	}
}

func TestSidecarCommands(t *testing.T) {
	for _, test := range []struct {
		line  string
		shell bool
		wants []string // none for no command
		fails string
	}{
		{"", false, nil, ""},
		{"  ", true, nil, ""},
		{"/bin/notify --up web", false, []string{"/bin/notify", "--up", "web"}, ""},
		{`["/bin/notify", "two words", "$HOME"]`, false, []string{"/bin/notify", "two words", "$HOME"}, ""},
		{"echo $HOME | cat", true, []string{"/bin/sh", "-c", "echo $HOME | cat"}, ""},
		{"[ -f /ready ]", true, []string{"/bin/sh", "-c", "[ -f /ready ]"}, ""},
		{"[ -f /ready ]", false, nil, "JSON array"},
		{"[]", false, nil, "JSON array"},
		{"echo $HOME", false, nil, "--shell"},
		{`echo "two words"`, false, nil, "--shell"},
	} {
		s := Sidecar{Shell: test.shell}
		got, err := s.argv(Command{Line: test.line})
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%q: got %v, want an error with %q", test.line, err, test.fails)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, test.wants) {
			t.Errorf("%q: got %q, %v, want %q", test.line, got, err, test.wants)
		}
	}
}
