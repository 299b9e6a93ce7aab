// The page asks the coordinator for its state once a second and shows it. Texts of clients are set as text, never as markup.
"use strict";

const PERIOD_MS = 1000, PAST = 120, LATE_SECONDS = 3, DEAD_SECONDS = 5, WAITING_SHOWN = 20;
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
let secret = sessionStorage.getItem("secret") || "";
let last = null;
const past = {read: [], said: []};

function element(name, className, ...inside) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...inside.filter((each) => each !== null));
  return made;
}

function count(value) {
  if (value < 10000) return whole.format(value);
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [size, unit] = units.find(([size]) => value >= size);
  return (value / size).toFixed(value / size < 100 ? 1 : 0) + " " + unit;
}

function seconds(value) {
  if (value < 10) return value.toFixed(1) + " s";
  if (value < 120) return Math.round(value) + " s";
  if (value < 7200) return Math.round(value / 60) + " min";
  return (value / 3600).toFixed(1) + " h";
}

function fact(name, value) {
  return element("span", "", name + " ", element("b", "", value));
}

// Parts of a bar: [share of the whole, class].
function bar(...parts) {
  return element("div", "bar", ...parts.filter(([share]) => share > 0).map(([share, className]) => {
    const part = element("i", className);
    part.style.flexBasis = (100 * Math.min(share, 1)).toFixed(2) + "%";
    return part;
  }));
}

function showList(id, cards, nothing) {
  byId(id).replaceChildren(...(cards.length ? cards : [element("div", "empty", nothing)]));
}

function requestCard(request) {
  const reading = request.prompt_tokens_done < request.prompt_tokens;
  const [word, kind] = reading ? ["reading", "busy"] : ["answering", "good"];
  const total = Math.max(request.prompt_tokens + request.max_tokens, 1);
  return element("article", "card",
    element("div", "top", element("b", "", request.name), element("span", "pill " + kind, word),
      element("small", "", "on " + request.group),
      element("span", "end", seconds(request.age_seconds))),
    bar([request.prompt_tokens_done / total, ""], [request.completion_tokens / total, "said"]),
    element("div", "facts", fact("prompt", count(request.prompt_tokens_done) + " of " + count(request.prompt_tokens)),
      fact("answer", count(request.completion_tokens) + (request.max_tokens ? " of at most " + count(request.max_tokens) : "")),
      request.plan ? fact("predicted to read in", seconds(request.predicted_seconds)) : null),
    request.plan ? element("pre", "", request.plan) : null);
}

function waitingRow(request) {
  return element("div", "row-of", element("span", "", request.name), element("span", "", count(request.prompt_tokens) + " tokens"),
    element("span", "", seconds(request.age_seconds)));
}

function rankRow(rank) {
  const age = rank.heartbeat_age_seconds;
  const beat = "beat" + (age >= DEAD_SECONDS ? " dead" : age >= LATE_SECONDS ? " late" : "");
  return element("div", "row-of", element("span", "", "rank " + rank.rank),
    element("span", "", rank.host + " · " + rank.kernels + " · " + rank.threads + (rank.threads === 1 ? " thread" : " threads")),
    element("span", beat, seconds(age)));
}

function groupCard(group) {
  const kinds = {ready: "good", running: "busy", loading: "warn", joining: "warn"};
  return element("article", "card",
    element("div", "top", element("b", "", group.name), element("span", "pill " + (kinds[group.state] || ""), group.state),
      element("span", "end", group.transport)),
    bar([group.running / Math.max(group.places, 1), ""]),
    element("div", "facts", fact("places", group.running + " of " + group.places),
      fact("ranks", group.ranks.length + " of " + group.size)),
    element("div", "rows ranks", ...group.ranks.map(rankRow)));
}

function batchCard(batch) {
  const kinds = {completed: "good", in_progress: "busy", failed: "bad", expired: "bad", cancelling: "warn", cancelled: "warn",
    validating: "warn"};
  const total = Math.max(batch.total, 1), prompt = batch.prompt_tokens;
  return element("article", "card",
    element("div", "top", element("b", "", batch.name), element("span", "pill " + (kinds[batch.state] || ""), batch.state.replace("_", " ")),
      element("span", "end", batch.endpoint)),
    bar([batch.completed / total, "said"], [batch.failed / total, "bad"], [batch.running / total, ""]),
    element("div", "facts", fact("lines", count(batch.completed + batch.failed) + " of " + count(batch.total)),
      batch.failed ? fact("failed", count(batch.failed)) : null, batch.running ? fact("running", count(batch.running)) : null,
      fact("prompts", count(prompt) + " tokens"),
      prompt ? fact("read before", Math.round(100 * batch.cached_tokens / prompt) + " %") : null,
      fact("answers", count(batch.completion_tokens) + " tokens")));
}

function sessionsCard(sessions) {
  return element("article", "card",
    element("div", "facts", fact("ready", count(sessions.ready)), sessions.reading ? fact("being read", count(sessions.reading)) : null,
      sessions.spilled ? fact("in files", count(sessions.spilled)) : null, sessions.lost ? fact("lost", count(sessions.lost)) : null,
      fact("documents", count(sessions.tokens) + " tokens"), fact("of a worker's memory", Math.round(sessions.held_bytes / 1e6) + " MB")));
}

// The last values of a figure as a line, the newest at the right.
function drawLine(id, values) {
  const most = Math.max(...values, 1), from = PAST - values.length;
  const points = values.map((value, n) => (from + n + 1) + " " + (29 - 26 * value / most).toFixed(2));
  const edge = points.length ? "M" + points.join("L") : "";
  byId(id).querySelector(".edge").setAttribute("d", edge);
  byId(id).querySelector(".area").setAttribute("d", edge && edge + "L" + PAST + " 30L" + (from + 1) + " 30Z");
}

// Tokens a second since the last look. The counters are the coordinator's own, of all requests that have been.
function showRates(state) {
  const span = last ? state.now_seconds - last.now_seconds : 0;
  for (const [id, field] of [["read", "prompt_tokens"], ["said", "completion_tokens"]]) {
    if (span > 0) {
      past[id] = [...past[id], Math.max(state[field] - last[field], 0) / span].slice(-PAST);
      byId(id).textContent = count(past[id].at(-1));
    }
    drawLine(id + "-line", past[id]);
  }
  last = state;
}

function showState(state) {
  const running = state.requests.filter((request) => request.group), waiting = state.requests.filter((request) => !request.group);
  const places = state.groups.reduce((sum, group) => sum + group.places, 0);
  const [word, kind] = state.draining ? ["draining", "warn"] : state.serving ? ["serving", "good"] : ["no workers", "bad"];
  byId("state").textContent = word;
  byId("state").className = "pill " + kind;
  byId("model").textContent = state.model;
  byId("version").textContent = state.version;
  byId("running").textContent = state.running_requests;
  byId("places").textContent = places ? "of " + places + " places" : "";
  byId("waiting").textContent = state.waiting_requests;
  byId("oldest").textContent = waiting.length ? "for " + seconds(waiting[0].age_seconds) : "";
  showRates(state);
  showList("requests", running.map(requestCard), "Nothing runs.");
  byId("line-section").hidden = !waiting.length;
  byId("line").replaceChildren(...waiting.slice(0, WAITING_SHOWN).map(waitingRow));
  if (waiting.length > WAITING_SHOWN) byId("line").append(element("small", "", "and " + (waiting.length - WAITING_SHOWN) + " more"));
  showList("groups", state.groups.map(groupCard), "No worker group has joined.");
  const sessions = state.sessions;
  byId("sessions-section").hidden = !(sessions.ready + sessions.reading + sessions.spilled + sessions.lost);
  byId("sessions").replaceChildren(sessionsCard(sessions));
  byId("batches-section").hidden = !state.batches;
  showList("batches", (state.batches || []).map(batchCard), "No batch has been made.");
  byId("content").hidden = false;
  byId("token").hidden = true;
}

function showGone(sentence) {
  byId("state").textContent = sentence;
  byId("state").className = "pill bad";
}

function askForToken(sentence) {
  byId("token").hidden = false;
  byId("content").hidden = true;
  byId("refusal").textContent = secret ? sentence : "";
  showGone("token needed");
}

async function look() {
  try {
    const answer = await fetch("longhaul/v1/state", {headers: secret ? {Authorization: "Bearer " + secret} : {}, cache: "no-store"});
    const body = await answer.json();
    if (answer.ok) showState(body);
    else if (answer.status === 401 || answer.status === 403) askForToken(body.error.message);
    else showGone(body.error.message);
  } catch {
    showGone("not reached");
  }
  setTimeout(look, PERIOD_MS);
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  secret = byId("secret").value.trim();
  sessionStorage.setItem("secret", secret);
  byId("secret").value = "";
});
look();
