// Package load sends requests at a fixed rate, whatever becomes of them, and
// counts those that no pod answered. It is how the lab proves that pods leave
// without losing a request.
//
// What makes the count one to believe in:
//
//   - The loop is open. When requests are sent is decided by [Options.Rate] and
//     [Options.Seed] alone. A client that waits for answers sends least while
//     things are worst, and so hides what it should find.
//   - Requests cannot be sent twice. They are POSTs whose body cannot be rewound:
//     a request without a body, or with one that can be had again, is silently
//     repeated by net/http when a kept connection turns out to be closed.
//   - Each request has an id, in the header X-Request-Id and in the body. It is
//     answered only if the answer has a status of 2xx, names the pod that gives it
//     (X-Pod, or "pod" in JSON) and echoes the id (X-Request-Id, or "request" in
//     JSON). Everything else is lost, with the reason as a [Class].
//   - An id that reached pods more than once is a [Duplicate]. Only the servers
//     can tell, so they report to a [Collector].
//   - Latency counts from when a request should have been sent. If this program
//     itself is late, [Punctuality] says so, and the time that counts from the
//     sending is there beside it.
//
// Latencies are those of answered requests; lost ones are counted, not timed.
package load
