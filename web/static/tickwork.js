// What the pages need besides htmx: live cells, the watchdog over the stream, local times, drawer, menu, appearance.
(() => {
  "use strict";

  const root = document.documentElement;
  const LOST_AFTER_MS = 6000; // three beats of the stream
  const pageNow = Number(document.querySelector('meta[name="now"]')?.content) || Date.now();
  let serverOffset = pageNow - Date.now();
  let lastHeard = performance.now();
  let lastTick = Date.now();
  let lostSince = 0;
  let loggedOut = false;

  // ---------------------------------------------------------------- live cells

  let cells = null;

  function cellsOf(key) {
    if (!cells) {
      cells = new Map();
      for (const element of document.querySelectorAll("[data-live-key]")) {
        const list = cells.get(element.dataset.liveKey);
        list ? list.push(element) : cells.set(element.dataset.liveKey, [element]);
      }
    }
    return cells.get(key) || [];
  }

  function forgetCells() {
    cells = null;
  }

  function applyTick(tick) {
    for (const [key, text, quality, ms, reason] of tick.c) {
      for (const element of cellsOf(key)) {
        if (element.textContent !== text) element.textContent = text;
        if (element.dataset.q !== quality) element.dataset.q = quality;
        if (ms === undefined) continue;
        const row = element.closest("[data-row]");
        const time = row?.querySelector("time[data-changed]");
        if (time) {
          time.dataset.ms = ms;
          localise(time);
        }
        const words = row?.querySelector("[data-reason]");
        if (words && words.textContent !== (reason || "")) words.textContent = reason || "";
      }
    }
    for (const [key, ms] of tick.m || []) {
      for (const time of document.querySelectorAll(`time[data-time-key="${CSS.escape(key)}"]`)) {
        time.dataset.ms = ms;
        localise(time);
      }
    }
    document.dispatchEvent(new CustomEvent("tickwork:tick", { detail: tick }));
  }

  // ---------------------------------------------------------------- the stream and its watchdog

  function heard(now) {
    if (now) serverOffset = now - Date.now();
    lastHeard = performance.now();
    if (!loggedOut) setLive("live");
  }

  function setLive(state) {
    if (root.dataset.live === state) return;
    const before = root.dataset.live;
    root.dataset.live = state;
    const frozen = document.getElementById("frozen");
    if (state === "lost") {
      lostSince = Date.now() - (performance.now() - lastHeard);
      if (frozen && !loggedOut) {
        frozen.textContent = `Not live since ${clock(lostSince)}: what you see is the last known state. Trying to reconnect.`;
      }
    } else if (before === "lost" && frozen) {
      frozen.replaceChildren();
      say("polite", "Live again.");
    }
    showPulse();
  }

  function showPulse() {
    const pulse = document.getElementById("pulse");
    if (!pulse) return;
    const state = root.dataset.live;
    const seconds = Math.round((performance.now() - lastHeard) / 1000);
    pulse.dataset.state = state;
    const words = state === "live" ? `live · ${seconds} s` : state === "lost" ? `not live · ${age(performance.now() - lastHeard)}` : "connecting";
    if (pulse.lastElementChild.textContent !== words) pulse.lastElementChild.textContent = words;
  }

  function watch() {
    const jump = Date.now() - lastTick > 10000; // the machine slept: nothing on the page can be trusted
    lastTick = Date.now();
    if (!document.getElementById("stream")) return;
    if (jump) lastHeard = Math.min(lastHeard, performance.now() - LOST_AFTER_MS - 1);
    if (performance.now() - lastHeard > LOST_AFTER_MS) setLive("lost");
    showPulse();
  }

  function showLoggedOut() {
    loggedOut = true;
    setLive("lost");
    const frozen = document.getElementById("frozen");
    if (!frozen) return;
    const link = document.createElement("a");
    link.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = "Log in again";
    frozen.replaceChildren("Your session has ended: nothing on this page is live. ", link);
  }

  document.addEventListener("htmx:sse:before:message", (event) => {
    const { message } = event.detail;
    if (message.event === "tick" || message.event === "beat") {
      const body = JSON.parse(message.data);
      heard(body.now);
      if (message.event === "tick") applyTick(body);
    } else {
      heard(0);
    }
  });
  document.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) showLoggedOut();
  });
  document.addEventListener("htmx:after:swap", (event) => {
    forgetCells();
    localiseAll(document);
    const target = event.detail?.ctx?.target;
    if (target?.id === "drawer") openDrawer();
  });
  document.addEventListener("htmx:config:request", (event) => {
    const request = event.detail.ctx.request;
    if (request.method !== "GET") request.headers["X-CSRF-Token"] = document.querySelector('meta[name="csrf"]').content;
  });
  document.addEventListener("htmx:response:error", (event) => {
    const status = event.detail.ctx.response.status;
    if (status !== 422) say("assertive", `The supervisor answered ${status}. Nothing was changed.`, true);
  });
  document.addEventListener("htmx:error", () => say("assertive", "The supervisor did not answer. Nothing was changed.", true));

  let saidTimer = 0;
  function say(region, text, visibly) {
    const element = document.getElementById(region);
    if (element) element.textContent = text;
    if (!visibly) return;
    let toast = document.getElementById("toast");
    if (!toast) {
      toast = document.createElement("div");
      toast.id = "toast";
      toast.className = "toast";
      document.body.append(toast);
    }
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(saidTimer);
    saidTimer = setTimeout(() => (toast.hidden = true), 8000);
  }

  // ---------------------------------------------------------------- times

  const two = (number) => String(number).padStart(2, "0");
  function clock(ms) {
    const date = new Date(ms);
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  }
  function day(ms) {
    const date = new Date(ms);
    return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  }
  function age(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 120) return `${s} s`;
    if (s < 7200) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
  }
  function localise(time) {
    const ms = Number(time.dataset.ms);
    if (!ms) return;
    const now = Date.now() + serverOffset;
    const form = time.dataset.form;
    let text;
    if (form === "age") text = `${age(now - ms)} ago`;
    else if (form === "left") text = ms > now ? `in ${age(ms - now)}` : "expired";
    else if (form === "date") text = `${day(ms)} ${clock(ms)}`;
    else text = Math.abs(now - ms) < 43200000 ? clock(ms) : `${day(ms)} ${clock(ms)}`;
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = `${new Date(ms).toISOString()}`;
  }
  function localiseAll(scope) {
    for (const time of scope.querySelectorAll("time[data-ms]")) localise(time);
  }
  function everySecond() {
    for (const time of document.querySelectorAll('time[data-form="age"], time[data-form="left"]')) localise(time);
    const now = Date.now() + serverOffset;
    const shown = document.getElementById("clock");
    if (shown) {
      shown.textContent = clock(now);
      document.getElementById("clock-utc").textContent = `${new Date(now).toISOString().slice(11, 16)} UTC`;
    }
  }

  // ---------------------------------------------------------------- drawer, menu, appearance, keys

  function openDrawer() {
    const drawer = document.getElementById("drawer");
    if (!drawer.open) drawer.showModal();
    const title = drawer.querySelector("h2");
    if (title) drawer.setAttribute("aria-label", title.textContent.trim());
    const first = drawer.querySelector("[autofocus]");
    if (first) first.focus();
  }
  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("[data-close], [data-menu], [data-copy], [data-goto]");
    if (event.target.id === "drawer") {
      const box = event.target.getBoundingClientRect();
      const outside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
      if (outside) event.target.close();
      return;
    }
    if (!element) return;
    if (element.hasAttribute("data-close")) {
      const dialog = element.closest("dialog");
      if (!dialog) return;
      event.preventDefault();
      dialog.close();
    } else if (element.hasAttribute("data-menu")) {
      event.preventDefault();
      const nav = document.getElementById("nav");
      const open = nav.classList.toggle("open");
      element.setAttribute("aria-expanded", String(open));
      if (open) nav.querySelector("a").focus();
    } else if (element.hasAttribute("data-copy")) {
      navigator.clipboard?.writeText(document.getElementById(element.dataset.copy).textContent.trim());
      say("polite", "Copied.", true);
    }
  });
  document.addEventListener("close", (event) => {
    if (event.target.id === "drawer") {
      event.target.replaceChildren();
      forgetCells();
    }
  }, true);
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.hasAttribute("data-theme-form")) return;
    event.preventDefault();
    const body = new FormData(form, event.submitter);
    root.dataset.theme = event.submitter.value;
    for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === event.submitter));
    fetch(form.action, { method: "POST", body: new URLSearchParams(body), redirect: "manual" });
    document.dispatchEvent(new CustomEvent("tickwork:theme"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape") {
      const nav = document.getElementById("nav");
      if (nav?.classList.contains("open")) {
        nav.classList.remove("open");
        document.querySelector("[data-menu]").focus();
      }
      for (const details of document.querySelectorAll(".who[open]")) {
        details.open = false;
        details.querySelector("summary").focus();
      }
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) watch();
  });

  localiseAll(document);
  everySecond();
  setInterval(everySecond, 1000);
  setInterval(watch, 500);

  window.tickwork = { clock, day, age, say, now: () => Date.now() + serverOffset };
})();
