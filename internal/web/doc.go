// Package web serves pages that keep themselves up to date: HTML rendered here,
// a stylesheet and a small script that all pages of the project share, and
// nothing that has to be built.
//
// A page is a template in which some elements are regions. Whoever opens it gets
// the whole page, and from then on, over Server-Sent Events, those regions whose
// HTML has changed. Without JavaScript the page reloads itself instead, and its
// buttons are plain forms.
//
// Browsers are held to a strict Content-Security-Policy: no inline scripts and no
// inline styles, not even in what callers write. Nothing here knows who is asking:
// a page belongs on loopback, or behind something that does.
package web
