package web

import (
	"encoding/json"
	"net/http"
)

// Action does what a form asks for; the form is parsed already. The outcome is a
// sentence for people. The error is one too, and names the field, its value and
// what would be right. As a handler it answers the page's script in JSON, and a
// form that was posted without it by going back to the page, or with the error.
type Action func(r *http.Request) (outcome string, err error)

// maxForm bounds what a form may send, in bytes.
const maxForm = 64 << 10

// answer is what the script is told.
type answer struct {
	Outcome string `json:"outcome,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (do Action) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	var outcome string
	err := r.ParseForm()
	if err == nil {
		outcome, err = do(r)
	}
	w.Header().Set("Cache-Control", "no-store")
	script := r.Header.Get("Accept") == "application/json"
	switch {
	case err != nil && script:
		writeAnswer(w, http.StatusBadRequest, answer{Error: err.Error()})
	case err != nil:
		http.Error(w, "This was not done: "+err.Error(), http.StatusBadRequest)
	case script:
		writeAnswer(w, http.StatusOK, answer{Outcome: outcome})
	default:
		// Relative, as http.Redirect would not leave it: the prefix that was
		// stripped is not known here.
		w.Header().Set("Location", "../")
		w.WriteHeader(http.StatusSeeOther)
	}
}

func writeAnswer(w http.ResponseWriter, status int, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a) // a browser that has left needs no answer
}
