// Draws the curves of the trend page with uPlot; the address holds what is shown.
(() => {
  "use strict";
  const box = document.getElementById("trend");
  if (!box || !window.uPlot) return;

  const rows = [...document.querySelectorAll("tr[data-series]")];
  let from = Number(box.dataset.start);
  let to = Number(box.dataset.end);
  let following = box.dataset.following === "yes";
  let plot = null;
  let body = null;
  let asking = 0;
  let timer = 0;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (value) => (value === null || value === undefined ? "–" : Math.abs(value) >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(6))));

  function address() {
    const url = new URL(box.dataset.source, location.href);
    url.searchParams.set("points", String(Math.max(200, Math.round(box.clientWidth))));
    if (!following) {
      url.searchParams.set("from", String(Math.round(from)));
      url.searchParams.set("to", String(Math.round(to)));
    } else {
      url.searchParams.delete("from");
      url.searchParams.delete("to");
    }
    return url;
  }

  async function load() {
    clearTimeout(timer);
    const mine = ++asking;
    box.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address(), { headers: { Accept: "application/json", "HX-Request": "true" } });
      if (mine !== asking) return;
      if (!response.ok) throw new Error(String(response.status));
      body = await response.json();
      if (mine !== asking) return;
      from = body.from;
      to = body.to;
      draw();
    } catch {
      document.getElementById("trend-info").textContent = "The curves could not be loaded; trying again.";
      timer = setTimeout(load, 5000);
      return;
    } finally {
      if (mine === asking) box.removeAttribute("aria-busy");
    }
    if (following && !document.hidden) timer = setTimeout(load, Math.min(Math.max((to - from) / 600, 1000), 60000));
  }

  function joined() {
    const tables = body.series.map((series) => [series.t.map((ms) => ms / 1000), series.v]);
    for (const series of body.before) tables.push([series.t.map((ms) => (ms + body.shift) / 1000), series.v]);
    // A bucket gives several values at one time, but a joined axis needs them apart.
    for (const table of tables) for (let i = 1; i < table[0].length; i++) if (table[0][i] <= table[0][i - 1]) table[0][i] = table[0][i - 1] + 0.0005;
    return tables.length ? uPlot.join(tables) : [[]];
  }

  function scaleOf(index) {
    return body.series[index].unit || (rows[index]?.dataset.kind !== "real" ? `step ${index}` : `tag ${index}`);
  }

  function options() {
    const scales = { x: { time: true, min: from / 1000, max: to / 1000 } };
    const axes = [timeAxis()];
    const used = [];
    body.series.forEach((_, index) => {
      const scale = scaleOf(index);
      if (used.includes(scale)) return;
      used.push(scale);
      const bool = rows[index]?.dataset.kind === "bool";
      scales[scale] = { range: (u, low, high) => (bool ? [-0.2, 1.2] : padded(low, high)) };
      if (used.length <= (box.clientWidth < 500 ? 1 : 2)) axes.push(valueAxis(scale, body.series[index].unit, bool, used.length === 1));
    });
    const series = [{}];
    body.series.forEach((one, index) => series.push(curve(index, scaleOf(index), !one.decimated)));
    body.before.forEach((_, index) => series.push({ ...curve(index, scaleOf(index), false), dash: [2, 4], alpha: 0.65 }));
    return {
      width: box.clientWidth, height: Math.max(280, Math.min(460, Math.round(innerHeight * 0.5))), scales, axes, series,
      cursor: { drag: { x: true, y: false, setScale: false }, focus: { prox: 24 }, points: { size: 7 } },
      legend: { show: false },
      hooks: { drawClear: [shadeGaps], draw: [drawMarkers], setCursor: [showCursor], setSelect: [zoomTo], ready: [keys] },
    };
  }

  const font = '12px "Plex Sans", sans-serif';

  function timeAxis() {
    return {
      scale: "x", side: 2, stroke: css("--muted"), font, size: 46, space: 70,
      grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line-strong"), width: 1, size: 5 },
      values: (u, splits, index, space, step) => splits.map((seconds, i) => {
        const ms = seconds * 1000;
        const time = tickwork.clock(ms).slice(0, step < 60 ? 8 : 5);
        const date = tickwork.day(ms).slice(5);
        if (step >= 86400) return date;
        return i === 0 || tickwork.day(splits[i - 1] * 1000) !== tickwork.day(ms) ? `${time}\n${date}` : time;
      }),
    };
  }

  function valueAxis(scale, unit, bool, first) {
    return {
      scale, side: first ? 3 : 1, stroke: css("--muted"), font, size: bool ? 58 : 64, grid: { show: first, stroke: css("--line"), width: 1 },
      ticks: { stroke: css("--line-strong"), width: 1, size: 5 },
      splits: bool ? () => [0, 1] : undefined,
      values: (u, splits) => splits.map((value, i) => {
        if (bool) return value ? "TRUE" : "FALSE";
        const text = String(Number(value.toPrecision(7)));
        return i === splits.length - 1 && unit ? `${text} ${unit}` : text;
      }),
    };
  }

  function curve(index, scale, raw) {
    const dashed = index % 2 === 1;
    const step = raw && (rows[index]?.dataset.kind !== "real");
    return {
      scale, stroke: css(`--trend-${(index % 8) + 1}`), width: 1.75, dash: dashed ? [7, 4] : undefined, spanGaps: false,
      paths: step ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(), points: { show: false },
    };
  }

  function padded(low, high) {
    if (low === null || high === null) return [0, 1];
    const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
    return [low - pad, high + pad];
  }

  function shadeGaps(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.strokeStyle = css("--line-strong");
    ctx.globalAlpha = 0.5;
    ctx.lineWidth = devicePixelRatio;
    for (const series of body.series) {
      for (const [start, end] of series.gaps) {
        const left = Math.max(u.valToPos(start / 1000, "x", true), bbox.left);
        const right = Math.min(u.valToPos(end / 1000, "x", true), bbox.left + bbox.width);
        for (let x = left - bbox.height; x < right; x += 9 * devicePixelRatio) {
          ctx.save();
          ctx.beginPath();
          ctx.rect(left, bbox.top, Math.max(right - left, 1), bbox.height);
          ctx.clip();
          ctx.beginPath();
          ctx.moveTo(x, bbox.top + bbox.height);
          ctx.lineTo(x + bbox.height, bbox.top);
          ctx.stroke();
          ctx.restore();
        }
      }
    }
    ctx.restore();
  }

  function drawMarkers(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = css("--text");
    ctx.fillStyle = css("--text");
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.font = `${12 * devicePixelRatio}px "Plex Sans", sans-serif`;
    for (const [ms, text] of body.markers) {
      const x = u.valToPos(ms / 1000, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(`▲ ${text}`, x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
    }
    ctx.restore();
  }

  function valueAt(series, ms) {
    for (const [start, end] of series.gaps) if (ms >= start && ms <= end) return null;
    let low = 0;
    let high = series.t.length - 1;
    if (high < 0 || series.t[0] > ms) return null;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (series.t[middle] <= ms) low = middle;
      else high = middle - 1;
    }
    return series.v[low];
  }

  function showCursor(u) {
    const seconds = u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null;
    rows.forEach((row, index) => {
      row.querySelector("[data-at]").textContent = seconds === null ? "" : number(valueAt(body.series[index], seconds * 1000));
    });
    const info = document.getElementById("trend-info");
    if (seconds !== null) info.textContent = `At ${tickwork.day(seconds * 1000)} ${tickwork.clock(seconds * 1000)}`;
    else info.textContent = summary();
  }

  function summary() {
    const samples = body.series.reduce((sum, series) => sum + series.samples, 0);
    const how = body.series.some((series) => series.decimated) ? "First, least, most and last of each bucket" : "Every stored value";
    const gaps = body.series.some((series) => series.gaps.length) ? " Hatched: nothing is known." : "";
    return samples ? `${how}; ${samples.toLocaleString()} samples in the range.${gaps}` : "No stored value in this range.";
  }

  function showNumbers() {
    rows.forEach((row, index) => {
      const known = body.series[index].v.filter((value) => value !== null);
      let least = Infinity;
      let most = -Infinity;
      for (const value of known) {
        if (value < least) least = value;
        if (value > most) most = value;
      }
      row.querySelector("[data-least]").textContent = known.length ? number(least) : "–";
      row.querySelector("[data-most]").textContent = known.length ? number(most) : "–";
      const { decimated, samples } = body.series[index];
      row.querySelector("[data-points]").textContent = decimated ? `min/max of ${Math.max(1, Math.round(samples / Math.max(known.length / 4, 1)))}` : "raw";
    });
  }

  function draw() {
    const data = joined();
    plot?.destroy();
    plot = new uPlot(options(), data, box);
    showNumbers();
    showCursor(plot);
    box.setAttribute("aria-label", summary());
  }

  function keys(u) {
    u.over.addEventListener("dblclick", () => move("out"));
  }

  function zoomTo(u) {
    if (u.select.width < 6) return;
    const start = u.posToVal(u.select.left, "x") * 1000;
    const end = u.posToVal(u.select.left + u.select.width, "x") * 1000;
    show(start, end);
  }

  function show(start, end) {
    if (end - start < 1000) return;
    from = start;
    to = end;
    following = false;
    const toggle = document.querySelector("[data-live-toggle]");
    toggle.textContent = "Follow live";
    const page = new URL(location.href);
    if (toggle.dataset.fixed !== "yes") {
      const back = new URL(page);
      back.searchParams.delete("from");
      back.searchParams.delete("to");
      toggle.href = back.href;
      toggle.dataset.fixed = "yes";
    }
    page.searchParams.set("from", String(Math.round(from)));
    page.searchParams.set("to", String(Math.round(to)));
    history.replaceState(null, "", page);
    for (const link of document.querySelectorAll('[aria-label="Range"] [aria-current]')) link.removeAttribute("aria-current");
    load();
  }

  function move(how) {
    const span = to - from;
    if (how === "back") show(from - span / 2, to - span / 2);
    else if (how === "on") show(from + span / 2, to + span / 2);
    else if (how === "in") show(from + span / 4, to - span / 4);
    else show(from - span / 2, to + span / 2);
  }

  document.querySelector("[data-moves]").hidden = false;
  for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => move(button.dataset.move));
  const png = document.querySelector("[data-png]");
  png.hidden = false;
  png.addEventListener("click", () => {
    const source = box.querySelector("canvas");
    const copy = document.createElement("canvas");
    copy.width = source.width;
    copy.height = source.height;
    const context = copy.getContext("2d");
    context.fillStyle = css("--panel");
    context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(source, 0, 0);
    copy.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "trend.png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  });
  new ResizeObserver(() => {
    if (plot && plot.width !== box.clientWidth) plot.setSize({ width: box.clientWidth, height: plot.height });
  }).observe(box);
  document.addEventListener("tickwork:theme", () => body && draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => body && draw());
  document.addEventListener("visibilitychange", () => !document.hidden && following && load());
  load();
})();
