// Keeps the page up to date and sends its forms without leaving it. It needs
// nothing: without it the page reloads itself and forms are posted as usual.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const put = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const show = (element, text, failed) => {
    put(element, text);
    element.classList.toggle("failed", Boolean(failed));
  };

  // Regions.

  // What people did to a region and would miss after its content is replaced.
  const remember = (region) => ({
    focus: region.contains(document.activeElement) ? document.activeElement.id : null,
    open: [...region.querySelectorAll("details[id]")].map((d) => [d.id, d.open]),
    scrolled: [...region.querySelectorAll(".scroll[id]")].map((s) => [s.id, s.scrollLeft, s.scrollTop]),
  });

  const restore = (region, was) => {
    for (const [id, open] of was.open) if ($(id)) $(id).open = open;
    for (const [id, left, top] of was.scrolled) if ($(id)) $(id).scrollTo(left, top);
    if (was.focus === null) return;
    const next = was.focus && $(was.focus);
    if (!next) region.tabIndex = -1; // what had the focus is gone: stay near
    (next || region).focus({ preventScroll: true });
  };

  const replace = ({ id, html }) => {
    const region = $(id);
    const draft = document.createElement("template");
    draft.innerHTML = html;
    if (draft.innerHTML === region.innerHTML) return;
    const was = remember(region);
    region.replaceChildren(draft.content);
    restore(region, was);
  };

  // The connection.

  const silence = 15000; // ms; the server gives a sign of life every 5 s
  let source, heard, since, trouble = "";

  const tell = () => {
    const text = since ? `Not connected since ${since}: the page shows the past. Trying again …`
      : trouble && `The page shows the past, since it cannot be brought up to date: ${trouble}`;
    put($("connection"), text);
    put($("live"), text ? "not live" : "live");
    document.documentElement.classList.toggle("past", Boolean(text));
  };

  const lost = () => {
    since ||= new Date().toLocaleTimeString();
    tell();
  };

  const on = (event, handle) => source.addEventListener(event, (e) => {
    heard = Date.now();
    since = "";
    handle(JSON.parse(e.data));
    tell();
  });

  const connect = () => {
    heard = Date.now();
    source = new EventSource("events" + location.search);
    source.onerror = lost; // the browser tries again, unless it was refused
    on("alive", () => {});
    on("region", replace);
    on("trouble", (text) => { trouble = text; });
  };

  setInterval(() => {
    if (source.readyState !== EventSource.CLOSED && Date.now() - heard < silence) return;
    source.close();
    lost();
    connect();
  }, 2000);
  connect();

  // Forms.

  const outcomeOf = async (form, button) => {
    try {
      const body = new URLSearchParams(new FormData(form, button));
      const action = button?.getAttribute("formaction") || form.getAttribute("action");
      const response = await fetch(action, { method: "POST", body, headers: { Accept: "application/json" } });
      if (!(response.headers.get("Content-Type") || "").startsWith("application/json")) return { error: await response.text() };
      return await response.json();
    } catch {
      return { error: "This could not be sent: there is no connection. Try again once the page is live." };
    }
  };

  document.addEventListener("submit", async (e) => {
    const form = e.target, button = e.submitter;
    if (!form.matches("form[data-live]")) return;
    e.preventDefault();
    if (button?.ariaDisabled === "true") return;
    if (button) button.ariaDisabled = "true"; // and not disabled, which would lose the focus
    document.querySelectorAll("output").forEach((output) => show(output, ""));
    const { outcome, error } = await outcomeOf(form, button);
    show(form.querySelector("output") || $("outcome"), error || outcome || "Done.", error);
    if (button) button.ariaDisabled = null;
  });
})();
