package demo

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/targetgroupcontroller/targetgroupcontroller/internal/elbsim"
	"github.com/targetgroupcontroller/targetgroupcontroller/internal/web"
)

//go:embed page.html
var pageFile embed.FS

// serve shows the play in browsers, and lets people take part. The page is gone
// once closePage returns.
func (p *play) serve(listen string) (url string, closePage func(), err error) {
	page, err := p.page()
	if err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return "", nil, fmt.Errorf("the page cannot be served, choose another address with --listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle(elbsim.AdminPath+"/", p.stage.Rig.Sim.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends with ErrServerClosed
	}()
	return "http://" + listener.Addr().String() + "/", func() {
		page.Close()
		server.Close()
		<-ended
	}, nil
}

func (p *play) page() (*web.Page, error) {
	layout := web.Layout().Funcs(template.FuncMap{"button": newButton})
	parsed, err := layout.ParseFS(pageFile, "page.html")
	if err != nil {
		return nil, err
	}
	page := web.Options{
		Template: parsed,
		Regions:  []string{"tour", "numbers", "plots", "targets", "lost", "log", "budget"},
		Data:     func(context.Context, url.Values) (any, error) { return p.view(time.Now()), nil },
		Actions:  map[string]web.Action{"tour": p.moveTour},
	}
	for name, act := range actions() {
		page.Actions[name] = p.action(act)
	}
	return web.NewPage(page)
}

// button is a form that is nothing but a button.
type button struct{ Name, Label, Hint string }

func newButton(name, label, hint string) button { return button{name, label, hint} }

// action is one of the page's buttons. Who presses one takes over from the tour.
func (p *play) action(do Action) web.Action {
	return func(r *http.Request) (string, error) {
		began := time.Now()
		command, err := do(r.Context(), p.stage, r.PostForm.Get("value"))
		if err != nil {
			return "", err
		}
		p.narrator.add(said{at: began, what: "$ " + command})
		if p.tour.isPaused() {
			return command, nil
		}
		p.tour.pause()
		return command + " (the tour waits meanwhile)", nil
	}
}

func (p *play) moveTour(r *http.Request) (string, error) {
	switch to := r.PostForm.Get("value"); to {
	case "pause":
		p.tour.pause()
		return "The tour waits once the present act has ended.", nil
	case "resume":
		p.tour.resume()
		return "The tour goes on.", nil
	default:
		return "", fmt.Errorf("tour %q: want pause or resume", to)
	}
}
