package awselb

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
)

// The answer may be read before the side that sends the request has seen that all
// of it is sent.
func TestAnswerBeforeTheRequestIsDone(t *testing.T) {
	e := serve(t)
	long := "<TargetHealthDescriptions/>" + strings.Repeat(" ", 1<<16)
	e.answer("DescribeTargetHealth", xml("DescribeTargetHealth", long))
	c := e.client(t, Options{})
	c.api = elbv2.New(c.api.Options(), sendSlowly)
	wrote := make(chan error, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) { wrote <- info.Err },
	})
	if _, err := c.TargetHealth(ctx, group); err != nil {
		t.Error(err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("the request counts as broken off: %v", err)
	}
}

// sendSlowly makes connections that send slowly.
func sendSlowly(o *elbv2.Options) {
	o.HTTPClient = o.HTTPClient.(*awshttp.BuildableClient).WithTransportOptions(func(transport *http.Transport) {
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &slowConn{Conn: conn, wanted: make(chan struct{})}, err
		}
	})
}

// slowConn is a connection whose second Write, that of the request's body, returns
// only once the second part of the answer is wanted. The caller has the first then.
type slowConn struct {
	net.Conn

	writes, reads int // of one goroutine each at a time
	wanted        chan struct{}
	once          sync.Once
}

func (c *slowConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.writes++; c.writes == 2 {
		<-c.wanted
	}
	return n, err
}

func (c *slowConn) Read(p []byte) (int, error) {
	if c.reads++; c.reads == 2 {
		c.once.Do(func() { close(c.wanted) })
	}
	return c.Conn.Read(p)
}

// Close lets a Write go that still waits.
func (c *slowConn) Close() error {
	c.once.Do(func() { close(c.wanted) })
	return c.Conn.Close()
}
