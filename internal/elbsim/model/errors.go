package model

import "fmt"

// Error is a refusal in AWS's terms.
type Error struct {
	Code    string
	Message string
	Status  int // HTTP status
}

// Error gives code and message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// refuse makes the error of a bad request. AWS answers nearly all with 400.
func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: 400}
}

func invalid(format string, args ...any) *Error { return refuse("ValidationError", format, args...) }
