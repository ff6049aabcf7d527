package load

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseMix(t *testing.T) {
	mix, err := ParseMix("long=10, keepalive=60,new=30,raw=0")
	if err != nil || !reflect.DeepEqual(mix, Mix{KeepAlive: 60, New: 30, Long: 10, Raw: 0}) {
		t.Errorf("got %v, %v", mix, err)
	}
	if got := mix.String(); got != "keepalive=60,new=30,long=10" {
		t.Errorf("written as %q", got)
	}
	for _, text := range []string{"", "new", "new=", "new=x", "new=-1", "new=0", "old=1", "new=1,new=2", "new=1,", "new=99999999999999999999"} {
		if mix, err := ParseMix(text); err == nil {
			t.Errorf("%q is taken for %v", text, mix)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	web := []string{"http://127.0.0.1:1"}
	for _, c := range []struct {
		options Options
		says    string
	}{
		{Options{Rate: 1}, "no target"},
		{Options{Targets: web}, "rate 0"},
		{Options{Targets: web, Rate: -1}, "rate -1"},
		{Options{Targets: web, Rate: 1e7}, "rate 1e+07"},
		{Options{Targets: web, Rate: 1, Duration: -time.Second}, "duration -1s"},
		{Options{Targets: web, Rate: 1, Arrivals: "often"}, `"often"`},
		{Options{Targets: web, Rate: 1, KeepLosses: -1}, "-1 losses"},
		{Options{Targets: web, Rate: 1, Mix: Mix{"old": 1}}, `"old"`},
		{Options{Targets: []string{"127.0.0.1:1"}, Rate: 1}, "127.0.0.1:1"},
		{Options{Targets: []string{"https://a:1"}, Rate: 1}, "neither http"},
		{Options{Targets: []string{"http://:80"}, Rate: 1}, "neither http"},
		{Options{Targets: []string{"tcp://a"}, Rate: 1, Mix: Mix{Raw: 1}}, "no port"},
		{Options{Targets: web, Rate: 1, Mix: Mix{Raw: 1, New: 1}}, "tcp://host:port"},
		{Options{Targets: append(web, "tcp://a:1"), Rate: 1}, "tcp://a:1"},
	} {
		_, err := Start(t.Context(), c.options)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v, want %q in it", c.options, err, c.says)
		}
	}
}
