// Alarms in the browser: the sound that stays until silenced, and lists that hold still under the pointer.
(() => {
  "use strict";

  // ---------------------------------------------------------------- sound

  // One looping element needs no timer, so it goes on in a hidden tab; silence is this browser's alone. The browser
  // lets a page sound only after somebody has touched it: until then `play` is refused, and the strip says so.
  const KEY = "tickwork.silenced";
  const RATE = 8000;
  let audio = null;
  let sounding = false;

  const strip = () => document.getElementById("alarm-strip");
  const silenced = () => localStorage.getItem(KEY) || "";
  function wave() {
    const samples = new Int16Array(RATE * 1.6);
    for (let i = 0; i < samples.length; i++) {
      const t = i / RATE;
      const on = t < 0.18 || (t > 0.28 && t < 0.46);
      samples[i] = on ? 6500 * Math.sin(2 * Math.PI * (t < 0.25 ? 880 : 660) * t) : 0;
    }
    const head = new DataView(new ArrayBuffer(44)); // RIFF, PCM, one channel, 16 bits
    [..."RIFF    WAVEfmt "].forEach((sign, at) => head.setUint8(at, sign.charCodeAt(0)));
    head.setUint32(4, 36 + samples.byteLength, true);
    [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, RATE, 4], [28, RATE * 2, 4], [32, 2, 2], [34, 16, 2]].forEach(([at, value, size]) =>
      size === 4 ? head.setUint32(at, value, true) : head.setUint16(at, value, true));
    [..."data"].forEach((sign, at) => head.setUint8(36 + at, sign.charCodeAt(0)));
    head.setUint32(40, samples.byteLength, true);
    return URL.createObjectURL(new Blob([head, samples], { type: "audio/wav" }));
  }

  function play() {
    if (!audio) {
      audio = new Audio(wave());
      audio.loop = true;
    }
    if (!audio.paused) return;
    audio.play().then(() => heard(true), () => heard(false));
  }

  function heard(now) {
    if (sounding === now) return;
    sounding = now;
    show();
  }

  function stop() {
    audio?.pause();
    sounding = false;
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
    const said = !due ? "" : quiet ? "silenced" : sounding ? "sounding" : "sound is blocked: click anywhere on the page";
    if (words.textContent !== said) words.textContent = said; // the observer below would see it and come back
    document.documentElement.dataset.alarmSound = sounding ? "on" : "off";
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
    if (event.target.closest?.("[data-silence]")) localStorage.setItem(KEY, strip().dataset.soundKey);
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
