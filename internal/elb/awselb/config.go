package awselb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

const (
	// exchangeTimeout bounds one HTTP exchange, with ELBv2, STS or a source of
	// credentials. Callers bound their calls with a context as well, but the SDK
	// detaches the renewal of credentials from it: without this bound one hung
	// renewal would hold up every later call.
	exchangeTimeout = 10 * time.Second
	// dialTimeout leaves time to answer after a lost SYN or two.
	dialTimeout = 5 * time.Second
	// idleConnections is how many connections are kept for reuse: a full bucket
	// of the documented call budget leaves at once.
	idleConnections = 64
	// metadataTimeout bounds the question for the region to the instance's
	// metadata, which in a pod often answers nothing at all.
	metadataTimeout = 3 * time.Second
)

// Options say where to call and as whom. The zero value leaves all to the environment.
type Options struct {
	// Region such as eu-central-1.
	Region string
	// RoleARN is a role to assume, in another account perhaps. Empty: none.
	RoleARN string
	// ExternalID is what the role's trust policy asks for. Empty: nothing.
	ExternalID string
	// Version of the program, for the user agent.
	Version string
	// Endpoint is a URL that stands in for those of ELBv2 and STS, such as a
	// simulator's. Empty: the environment's, else AWS's.
	Endpoint string
}

var (
	errNoRegion = errors.New("no AWS region: give --region, set AWS_REGION, or name the target group by ARN, which holds the region")

	regionForm = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)+$`)

	roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`)
)

func (o Options) check() error {
	switch {
	case o.RoleARN != "" && !roleARN.MatchString(o.RoleARN):
		return fmt.Errorf("role %q: want an ARN such as arn:aws:iam::111122223333:role/NAME", o.RoleARN)
	case o.RoleARN == "" && o.ExternalID != "":
		return fmt.Errorf("external id without a role: it has a meaning only when a role is assumed")
	}
	return nil
}

// Region tells the default region: the environment's, the shared configuration's
// or else the one that the instance's metadata tells. The metadata are asked for
// 3 seconds at most, unless AWS_EC2_METADATA_DISABLED is true. The error, when
// there is none, tells how to give one.
func Region(ctx context.Context) (string, error) {
	cfg, err := load(ctx)
	if err != nil {
		return "", err
	}
	if cfg.Region != "" {
		return cfg.Region, nil
	}
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	out, err := imds.NewFromConfig(cfg).GetRegion(ctx, nil)
	if err != nil || out.Region == "" {
		return "", errNoRegion // off EC2 it is normal that nobody answers
	}
	return out.Region, nil
}

// load makes the SDK's configuration for the options. The region must be known
// before: the sources of credentials that call STS take it from here.
func (o Options) load(ctx context.Context) (aws.Config, error) {
	region, err := o.region(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	settings := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithAPIOptions([]func(*middleware.Stack) error{awsmiddleware.AddUserAgentKeyValue("tgc", o.version()), readOnlyBody}),
	}
	if o.Endpoint != "" {
		settings = append(settings, config.WithBaseEndpoint(o.Endpoint))
	}
	return load(ctx, settings...)
}

// region checks the form only: AWS adds regions now and then.
func (o Options) region(ctx context.Context) (string, error) {
	region := o.Region
	if region == "" {
		var err error
		if region, err = Region(ctx); err != nil {
			return "", err
		}
	}
	if !regionForm.MatchString(region) {
		return "", fmt.Errorf("region %q: want one such as eu-central-1", region)
	}
	return region, nil
}

func (o Options) version() string {
	if o.Version == "" {
		return "unknown"
	}
	return o.Version
}

func load(ctx context.Context, settings ...func(*config.LoadOptions) error) (aws.Config, error) {
	settings = append(settings,
		config.WithHTTPClient(httpClient()),
		config.WithLogger(logging.Nop{}), // errors say what matters, in the program's own log
	)
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("AWS configuration: %w", err)
	}
	return cfg, nil
}

// httpClient is of the SDK's own kind, since only that takes AWS_CA_BUNDLE and
// the shorter timeouts that the SDK uses for instance metadata.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(exchangeTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns = 2 * idleConnections
			t.MaxIdleConnsPerHost = idleConnections
		})
}
