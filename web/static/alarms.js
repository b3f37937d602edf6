// Alarms in the browser: the sound that stays until silenced, and lists that hold still under the pointer.
(() => {
  "use strict";

  // ---------------------------------------------------------------- sound

  // One looping buffer needs no timer, so it goes on in a hidden tab; silence is this browser's alone.
  const KEY = "tickwork.silenced";
  let context = null;
  let source = null;

  const strip = () => document.getElementById("alarm-strip");
  const silenced = () => localStorage.getItem(KEY) || "";
  // A browser lets a page sound only after somebody has touched it, or a page before it in the same tab.
  const TOUCHED = "tickwork.touched";
  const touched = () => navigator.userActivation?.hasBeenActive || sessionStorage.getItem(TOUCHED) === "1";

  function pattern(audio) {
    const seconds = 1.6;
    const buffer = audio.createBuffer(1, audio.sampleRate * seconds, audio.sampleRate);
    const data = buffer.getChannelData(0);
    for (let i = 0; i < data.length; i++) {
      const t = i / audio.sampleRate;
      const on = t < 0.18 || (t > 0.28 && t < 0.46);
      data[i] = on ? 0.2 * Math.sin(2 * Math.PI * (t < 0.25 ? 880 : 660) * t) : 0;
    }
    return buffer;
  }

  function play() {
    if (!touched()) return;
    context ||= new AudioContext();
    if (context.state === "suspended") context.resume();
    if (source) return;
    source = context.createBufferSource();
    source.buffer = pattern(context);
    source.loop = true;
    source.connect(context.destination);
    source.start();
  }

  function stop() {
    source?.stop();
    source = null;
  }

  function show() {
    const element = strip();
    if (!element) return stop();
    const due = Number(element.dataset.sounding) > 0;
    const quiet = silenced() === element.dataset.soundKey;
    const button = element.querySelector("[data-silence]");
    const words = element.querySelector("[data-sound-state]");
    button.hidden = !due || quiet;
    if (due && !quiet) play();
    else stop();
    const blocked = !source || context.state !== "running";
const said = !due ? "" : quiet ? "silenced" : blocked ? "sound is blocked: click anywhere on the page" : "sounding";
    if (words.textContent !== said) words.textContent = said; // the observer below would see it and come back
    document.documentElement.dataset.alarmSound = source ? "on" : "off";
    speak(element);
  }

  let spoken = "";
  function speak(element) {
    const key = element.dataset.soundKey;
    const urgent = element.querySelector('.strip-newest .mark[data-level="1"], .strip-newest .mark[data-level="2"]');
    if (!urgent || key === spoken) return;
    if (spoken) window.tickwork?.say("assertive", `Alarm: ${element.querySelector(".strip-newest").textContent.trim()}`, false);
    spoken = key;
  }

  document.addEventListener("click", (event) => {
    sessionStorage.setItem(TOUCHED, "1");
    if (event.target.closest?.("[data-silence]")) localStorage.setItem(KEY, strip().dataset.soundKey);
    if (context?.state === "suspended") context.resume().then(show);
    show();
  });
  window.addEventListener("storage", (event) => event.key === KEY && show());
  new MutationObserver(show).observe(document.getElementById("main"), { childList: true, subtree: true, attributes: true, attributeFilter: ["data-sounding", "data-sound-key"] });

  // ---------------------------------------------------------------- lists that hold still

  const LONGEST_MS = 8000;
  let missed = false;
  let since = 0;

  function held() {
    const list = document.querySelector("[data-hold]");
    if (!list) return null;
    const choosing = list.querySelector("input[type=checkbox]:checked, details[open]") || list.contains(document.activeElement);
    const busy = choosing || list.matches(":hover");
    if (!busy) since = 0;
    else if (!since) since = performance.now();
    return busy && (choosing || performance.now() - since < LONGEST_MS) ? list : null;
  }

  document.addEventListener("htmx:sse:before:message", (event) => {
    const message = event.detail.message;
    const list = message.event ? null : held();
    if (!list || !message.data.includes(`hx-target="#${list.id}"`)) return;
    const start = message.data.indexOf(`<hx-partial hx-target="#${list.id}"`);
    const end = message.data.indexOf("</hx-partial>", start) + "</hx-partial>".length;
    message.data = message.data.slice(0, start) + message.data.slice(end) || "<!-- held -->";
    missed = true;
    note(list, "Changed; the list holds still while you choose from it.");
  });

  function note(list, text) {
    let element = document.getElementById("held-note");
    if (!element) {
      element = document.createElement("p");
      element.id = "held-note";
      element.className = "small held-note";
      element.setAttribute("role", "status");
      list.before(element);
    }
    element.textContent = text;
  }

  setInterval(() => {
    if (!missed || held()) return;
    missed = false;
    document.getElementById("held-note")?.remove();
    const list = document.querySelector("[data-hold]");
    if (list) htmx.ajax("GET", location.href, { target: `#${list.id}`, swap: "outerMorph" });
  }, 500);

  show();
})();
