package elbsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
)

// awsPath is where Debian's package puts the AWS CLI.
const awsPath = "/usr/bin/aws"

// session is somebody at a terminal with the AWS CLI.
type session struct {
	endpoint string
	env      []string
}

// newSession starts a session against a simulator, or skips the test where there
// is no AWS CLI; in CI that is a failure.
func newSession(t *testing.T, endpoint string) session {
	t.Helper()
	if _, err := os.Stat(awsPath); err != nil {
		const remedy = "THE AWS CLI IS MISSING, so nobody but ourselves has tried the simulator. Install it: apt-get install -y awscli"
		if os.Getenv("CI") == "true" {
			t.Fatal(remedy)
		}
		t.Skip(remedy)
	}
	return session{endpoint: endpoint, env: []string{
		"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
		"AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=secret", "AWS_DEFAULT_REGION=eu-central-1", "AWS_DEFAULT_OUTPUT=json",
	}}
}

func (s session) command(t *testing.T, line string) (out, problem string) {
	t.Helper()
	arguments := append([]string{"--endpoint-url", s.endpoint, "elbv2"}, strings.Fields(line)...)
	command := exec.CommandContext(t.Context(), awsPath, arguments...)
	command.Env = s.env
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil && stderr.Len() == 0 {
		t.Fatalf("aws %s: %v", line, err)
	}
	return strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String())
}

// run runs a command that must succeed, and reads its JSON into answer unless
// that is nil.
func (s session) run(t *testing.T, line string, answer any) {
	t.Helper()
	out, problem := s.command(t, line)
	if problem != "" {
		t.Fatalf("aws %s: %s", line, problem)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		t.Fatalf("aws %s: %v in %q", line, err, out)
	}
}

// text runs a query that must succeed and gives its answer as text.
func (s session) text(t *testing.T, line string) string {
	t.Helper()
	out, problem := s.command(t, line+" --output text")
	if problem != "" {
		t.Fatalf("aws %s: %s", line, problem)
	}
	return out
}

// refused runs a command that must be refused with a code.
func (s session) refused(t *testing.T, line, code string) {
	t.Helper()
	if _, problem := s.command(t, line); !strings.Contains(problem, "An error occurred ("+code+")") {
		t.Errorf("aws %s: got %q, want %s", line, problem, code)
	}
}

func TestCLISession(t *testing.T) {
	t.Parallel()
	settings := quick()
	settings.DeregistrationDelay = elbsim.DefaultSettings().DeregistrationDelay
	sim, endpoint := served(t, settings)
	aws := newSession(t, endpoint)

	group := aws.text(t, "create-target-group --name web --target-type ip --protocol HTTP --port 80 --vpc-id vpc-1 --health-check-path /healthz --matcher HttpCode=200-299 --query TargetGroups[0].TargetGroupArn")
	balancer := aws.text(t, "create-load-balancer --name front --type application --subnets subnet-1 subnet-2 --query LoadBalancers[0].LoadBalancerArn")
	aws.run(t, "register-targets --target-group-arn "+group+" --targets Id=10.0.0.1,Port=8080 Id=10.0.0.2", nil)
	states := "describe-target-health --target-group-arn " + group + " --query TargetHealthDescriptions[].[Target.Id,Target.Port,TargetHealth.State,TargetHealth.Reason]"
	if got, want := aws.text(t, states), "10.0.0.1\t8080\tunused\tTarget.NotInUse\n10.0.0.2\t80\tunused\tTarget.NotInUse"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}

	listener := aws.text(t, "create-listener --load-balancer-arn "+balancer+" --protocol HTTP --port 80 --default-actions Type=forward,TargetGroupArn="+group+" --query Listeners[0].ListenerArn")
	aws.run(t, "wait target-in-service --target-group-arn "+group, nil)
	aws.run(t, "deregister-targets --target-group-arn "+group+" --targets Id=10.0.0.1", nil) // not this port: nothing happens
	aws.run(t, "deregister-targets --target-group-arn "+group+" --targets Id=10.0.0.1,Port=8080", nil)
	if got, want := aws.text(t, states), "10.0.0.1\t8080\tdraining\tTarget.DeregistrationInProgress\n10.0.0.2\t80\thealthy\tNone"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := aws.text(t, "describe-target-health --target-group-arn "+group+" --targets Id=10.0.0.9 --query TargetHealthDescriptions[].TargetHealth.Reason"); got != "Target.NotRegistered" {
		t.Errorf("got %s", got)
	}

	aws.refused(t, "delete-target-group --target-group-arn "+group, "ResourceInUse")
	aws.run(t, "delete-listener --listener-arn "+listener, nil)
	aws.run(t, "delete-load-balancer --load-balancer-arn "+balancer, nil)
	aws.run(t, "delete-target-group --target-group-arn "+group, nil)
	aws.refused(t, "describe-target-health --target-group-arn "+group, "TargetGroupNotFound")
	if agent := sim.Calls()[0].UserAgent; !strings.HasPrefix(agent, "aws-cli/") {
		t.Errorf("the user agent is logged as %q", agent)
	}
}

func TestCLITagsAttributesAndModifications(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	aws := newSession(t, endpoint)
	arn, err := sim.PlantGroup(elbsim.SeedGroup{Name: "web", Protocol: "TCP", LoadBalancer: "back"})
	if err != nil {
		t.Fatal(err)
	}
	group := arn.String()
	aws.run(t, "add-tags --resource-arns "+group+" --tags Key=team,Value=blue Key=stage,Value=test", nil)
	aws.run(t, "remove-tags --resource-arns "+group+" --tag-keys stage", nil)
	if got := aws.text(t, "describe-tags --resource-arns "+group+" --query TagDescriptions[].Tags[].[Key,Value]"); got != "team\tblue" {
		t.Errorf("got %q", got)
	}
	aws.run(t, "modify-target-group-attributes --target-group-arn "+group+" --attributes Key=deregistration_delay.timeout_seconds,Value=30", nil)
	if got := aws.text(t, "describe-target-group-attributes --target-group-arn "+group+" --query Attributes[?Key=='deregistration_delay.timeout_seconds'].Value"); got != "30" {
		t.Errorf("got %q", got)
	}
	aws.refused(t, "modify-target-group-attributes --target-group-arn "+group+" --attributes Key=nonsense,Value=1", "ValidationError")
	aws.run(t, "modify-target-group --target-group-arn "+group+" --health-check-protocol HTTP --health-check-path /up --matcher HttpCode=200", nil)
	if got := aws.text(t, "describe-target-groups --names web --query TargetGroups[].[HealthCheckProtocol,HealthCheckPath]"); got != "HTTP\t/up" {
		t.Errorf("got %q", got)
	}
}

// The CLI follows markers by itself, unless it is told the size of a page.
func TestCLIPages(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	aws := newSession(t, endpoint)
	for i := range 401 {
		if _, err := sim.PlantGroup(elbsim.SeedGroup{Name: fmt.Sprintf("group-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	aws.run(t, "describe-target-groups --query TargetGroups[].TargetGroupName", &all)
	if n := len(sim.Calls()); len(all) != 401 || all[400] != "group-400" || n != 2 {
		t.Errorf("%d groups on %d pages", len(all), n)
	}
	marker := aws.text(t, "describe-target-groups --page-size 3 --query NextMarker")
	if got := aws.text(t, "describe-target-groups --page-size 1 --marker "+marker+" --query TargetGroups[].TargetGroupName"); got != "group-3" {
		t.Errorf("got %q", got)
	}
}

func TestCLIErrors(t *testing.T) {
	t.Parallel()
	sim, endpoint := served(t, quick())
	aws := newSession(t, endpoint)
	aws.refused(t, "describe-target-groups --names nope", "TargetGroupNotFound")
	aws.refused(t, "describe-load-balancers --names nope", "LoadBalancerNotFound")
	aws.refused(t, "describe-rules --listener-arn x", "InvalidAction")
	settings := sim.Settings()
	settings.Credentials = []elbsim.Credential{{AccessKey: "OTHER"}}
	if err := sim.Configure(settings); err != nil {
		t.Fatal(err)
	}
	aws.refused(t, "describe-target-groups", "InvalidClientTokenId")
}
