package app

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Note is a line that a container of a real node prints when something becomes of
// it, where a program of a loopback node could be watched.
type Note struct {
	Event string    `json:"event"`
	Code  int       `json:"code"` // of an exit
	At    time.Time `json:"at"`
}

// Events of notes.
const (
	Started    = "started"
	Terminated = "SIGTERM" // noted before the program hears of it
	Exited     = "exit"    // not noted if it is killed
)

// Print writes the note.
func (n Note) Print(w io.Writer) {
	text, _ := json.Marshal(n) // it cannot fail
	fmt.Fprintf(w, "%s\n", text)
}

// ParseNote reads a line of a container's log; false if it is no note.
func ParseNote(line []byte) (Note, bool) {
	var n Note
	return n, json.Unmarshal(line, &n) == nil && n.Event != ""
}
