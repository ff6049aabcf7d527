package elbsim

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim/model"
)

const (
	apiVersion = "2015-12-01"
	namespace  = "http://elasticloadbalancing.amazonaws.com/doc/" + apiVersion + "/"
	// maxBody bounds a request. Several thousand targets fit in.
	maxBody = 2 << 20
)

// AWSHandler serves ELBv2's query protocol: POST of a form, XML back.
func (s *Sim) AWSHandler() http.Handler { return http.HandlerFunc(s.serveAWS) }

// AdminPath is where Handler serves the admin API.
const AdminPath = "/_sim"

// Handler serves both AWSHandler and, under AdminPath, AdminHandler.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(AdminPath+"/", http.StripPrefix(AdminPath, s.AdminHandler()))
	mux.Handle("/", s.AWSHandler())
	return mux
}

func (s *Sim) serveAWS(w http.ResponseWriter, httpRequest *http.Request) {
	r, f, run := s.received(httpRequest)
	var answer any
	err := s.perform(httpRequest.Context(), r, func(world *model.World, now time.Time) (err error) {
		answer, err = run(f, world, now)
		return err
	})
	refusal, refused := errors.AsType[*model.Error](err)
	switch {
	case err == nil:
		writeXML(w, http.StatusOK, r.id, func(e *xml.Encoder) error { return encodeAnswer(e, r, answer) })
	case refused:
		writeXML(w, refusal.Status, r.id, func(e *xml.Encoder) error { return encodeError(e, r, refusal) })
	default:
		panic(http.ErrAbortHandler) // closes the connection without a reply
	}
}

// received makes a request of what came over the wire. What is wrong with it is
// kept as its refusal, so that refused calls are in the log as well.
func (s *Sim) received(httpRequest *http.Request) (request, form, operation) {
	f, refusal := readForm(httpRequest)
	at, unknown := s.Settings().identity(httpRequest.Header)
	r := describe(f)
	r.scope, r.id = at, newRequestID()
	if resources, limited := limits[r.action]; limited {
		r.resources = resources(f, at)
	}
	r.userAgent, r.attempt = httpRequest.UserAgent(), httpRequest.Header.Get("Amz-Sdk-Request")
	r.ignored = f.ignored
	run, err := operationFor(f)
	for _, problem := range []error{refusal, unknown, err, f.err()} {
		if r.refusal == nil {
			r.refusal = problem
		}
	}
	return r, f, run
}

// readForm reads the parameters of a call. The form is usable in any case.
func readForm(r *http.Request) (form, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return newForm(nil), &model.Error{Code: "InvalidAction", Message: "Calls are made with POST /", Status: http.StatusNotFound}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return newForm(nil), malformed("The request body could not be read")
	}
	if len(body) > maxBody {
		return newForm(nil), &model.Error{Code: "RequestEntityTooLarge", Message: "Request body is too large", Status: http.StatusRequestEntityTooLarge}
	}
	return parseForm(string(body))
}

func parseForm(body string) (form, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return newForm(nil), malformed("The request body is not a valid form")
	}
	return newForm(values), nil
}

func malformed(message string) error {
	return &model.Error{Code: "MalformedInput", Message: message, Status: 400}
}

// describe tells what the log and the faults need to know of a call.
func describe(f form) request {
	r := request{action: f.text("Action")}
	r.group = f.text("TargetGroupArn")
	if r.group == "" {
		r.group = firstOf(f.list("TargetGroupArns"), f.list("Names"), f.list("ResourceArns"))
	}
	for _, member := range f.members("Targets") {
		name := member.text("Id")
		if port := member.text("Port"); port != "" {
			name += ":" + port
		}
		r.targets = append(r.targets, name)
	}
	return r
}

// operation carries out one action with its parameters.
type operation func(f form, world *model.World, now time.Time) (answer any, err error)

func operationFor(f form) (operation, error) {
	action := f.text("Action")
	run, known := operations[action]
	switch {
	case action == "":
		return nil, &model.Error{Code: "MissingAction", Message: "An action must be specified", Status: 400}
	case !known || f.text("Version") != apiVersion:
		return nil, &model.Error{Code: "InvalidAction", Message: "Could not find operation " + action + " for version " + f.text("Version"), Status: 400}
	}
	return run, nil
}

// writeXML answers with a document, or closes the connection if it cannot.
func writeXML(w http.ResponseWriter, status int, requestID string, encode func(*xml.Encoder) error) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	if err := encode(xml.NewEncoder(w)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// metadata ends every answer.
type metadata struct {
	RequestID string `xml:"RequestId"`
}

func encodeAnswer(e *xml.Encoder, r request, answer any) error {
	document := xml.StartElement{Name: xml.Name{Space: namespace, Local: r.action + "Response"}}
	return errors.Join(
		e.EncodeToken(document),
		e.EncodeElement(answer, xml.StartElement{Name: xml.Name{Local: r.action + "Result"}}),
		e.EncodeElement(metadata{r.id}, xml.StartElement{Name: xml.Name{Local: "ResponseMetadata"}}),
		e.EncodeToken(document.End()),
		e.Close(),
	)
}

// errorDocument is AWS's form of a refusal.
type errorDocument struct {
	XMLName   xml.Name `xml:"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/ ErrorResponse"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

func encodeError(e *xml.Encoder, r request, refusal *model.Error) error {
	side := "Sender"
	if refusal.Status >= 500 {
		side = "Receiver"
	}
	return e.Encode(errorDocument{Type: side, Code: refusal.Code, Message: refusal.Message, RequestID: r.id})
}
