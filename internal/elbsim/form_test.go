package elbsim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

func TestFormReadsListsInTheOrderOfTheirIndexes(t *testing.T) {
	f := must(parseForm("L.member.10=c&L.member.2=b&L.member.1=a&T.member.3.Id=z&T.member.1.Id=x&T.member.1.Port=7&S.K=v"))(t)
	if got := strings.Join(f.list("L"), ""); got != "abc" {
		t.Errorf("got %s", got)
	}
	members := f.members("T")
	if len(members) != 2 || members[0].text("Id") != "x" || members[0].number("Port") != 7 || members[1].text("Id") != "z" {
		t.Errorf("got %v", members)
	}
	if f.at("S").text("K") != "v" || f.err() != nil {
		t.Errorf("got %v", f.err())
	}
}

func TestFormTellsTheFirstProblem(t *testing.T) {
	tests := map[string]func(f form){
		"'null' at 'A'":          func(f form) { f.required("A") },
		"'x' at 'N'":             func(f form) { f.number("N") },
		"'-1' at 'M'":            func(f form) { f.number("M") },
		"'0' at 'L.member'":      func(f form) { f.list("L") },
		"at 'T.member.1.Missing": func(f form) { f.members("T")[0].required("Missing") },
	}
	for want, read := range tests {
		f := must(parseForm("N=x&M=-1&L.member.0=a&T.member.1.Id=x"))(t)
		read(f)
		f.required("later")
		if f.err() == nil || !strings.Contains(f.err().Error(), want) {
			t.Errorf("got %v, want %q", f.err(), want)
		}
	}
}

// Whatever comes in, every operation answers or refuses, and never panics.
func FuzzForm(f *testing.F) {
	for _, body := range []string{
		"Action=RegisterTargets&Version=2015-12-01&TargetGroupArn=%s&Targets.member.1.Id=10.0.0.1&Targets.member.1.Port=80",
		"Action=CreateTargetGroup&Version=2015-12-01&Name=a&Protocol=HTTP&Port=80&VpcId=v&Matcher.HttpCode=200-299&Tags.member.1.Key=k",
		"Action=DescribeTargetGroups&Version=2015-12-01&PageSize=1&Marker=x&Names.member.1=web",
		"Action=CreateListener&Version=2015-12-01&DefaultActions.member.1.Type=forward&DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn=x",
		"Action=ModifyTargetGroupAttributes&Version=2015-12-01&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=7",
		"Targets.member.99999999999999999999.Id=&Targets.member.-1.Id=%%",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		sim, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		arn, err := sim.PlantGroup(SeedGroup{Name: "web", LoadBalancer: "front"})
		if err != nil {
			t.Fatal(err)
		}
		form, err := parseForm(strings.ReplaceAll(body, "%s", arn.String()))
		if err != nil {
			return
		}
		_ = fmt.Sprint(describe(form))
		run, err := operationFor(form)
		if err != nil {
			return
		}
		_ = sim.With(DefaultAccount, DefaultRegion, func(w *model.World, now time.Time) error {
			_, err := run(form, w, now)
			w.Next(now)
			for _, name := range form.ignored() {
				if form.heeded[name] || strings.Contains(name, ".") {
					t.Errorf("%q counts as ignored", name)
				}
			}
			return err
		})
	})
}
