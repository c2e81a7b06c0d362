"use strict";
// Everything shown goes through textContent: labels, file names and messages are other people's text.

const at = (id) => document.getElementById(id);
const state = { answer: null, limits: null, token: "", file: null };

function say(status, error = "") {
  at("status").textContent = status;
  at("error").textContent = error;
  at("error").hidden = !error;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(state.token && { Authorization: `Bearer ${state.token}` }) };
  let reply;
  try {
    reply = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(60000) });
  } catch {
    throw new Error("The service does not answer. Is it still running? Try again in a moment.");
  }
  const content = await reply.json().catch(() => ({}));
  if (reply.ok) return content;
  if (reply.status === 401) {
    at("token-form").hidden = false;
    at("token").focus();
  }
  throw new Error(sentence(content, reply.status));
}

function sentence(content, status) {
  if (!content.message) return `The service answered with status ${status}. Try again.`;
  const text = content.hint ? `${content.message}: ${content.hint}.` : `${content.message}.`;
  return content.file ? text : text[0].toUpperCase() + text.slice(1);
}

function inWords(score) {
  if (score >= 0.99) return "practically sure";
  if (score >= 0.9) return "very sure";
  if (score >= 0.7) return "fairly sure";
  if (score >= 0.5) return "not very sure";
  return "guessing";
}

function percent(score) {
  if (score > 0.999) return "over 99.9\u00a0%";
  if (score < 0.001) return "under 0.1\u00a0%";
  return `${(100 * score).toFixed(1)}\u00a0%`;
}

function bar([name, score]) {
  const [item, line, label, value, track, fill] = ["li", "div", "span", "span", "div", "div"].map((tag) =>
    document.createElement(tag)
  );
  [line.className, track.className, fill.className] = ["name", "track", "fill"];
  label.textContent = name;
  value.textContent = percent(score);
  fill.style.width = `${100 * score}%`;
  track.setAttribute("aria-hidden", "true");
  track.append(fill);
  line.append(label, value);
  item.append(line, track);
  if (state.limits) mark(item, label, track, state.limits[name], state.answer.labels.includes(name));
  return item;
}

// Where a picture may have several labels: which of them are named, and from what score on.
function mark(item, label, track, limit, named) {
  item.classList.toggle("named", named);
  label.textContent = `${named ? "✓ " : ""}${label.textContent}`;
  const tick = document.createElement("div");
  tick.className = "limit";
  tick.style.left = `${100 * limit}%`;
  track.append(tick);
  item.title = `${named ? "named" : "not named"}: the model names it from ${percent(limit)} on`;
}

function named(labels) {
  return labels.length ? labels.flatMap((name) => {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.textContent = name;
    return [chip, " "];
  }) : ["None of these classes"];
}

function show(answer) {
  state.answer = answer;
  if (state.limits) at("verdict").replaceChildren(...named(answer.labels));
  else at("verdict").textContent = answer.label;
  at("certainty").textContent = state.limits
    ? `The model gives this answer as a whole a chance of ${percent(answer.score)}.`
    : `The model is ${inWords(answer.score)} (${percent(answer.score)}).`;
  const held = (name) => Number(state.limits !== null && answer.labels.includes(name)); // those named come first
  const sorted = Object.entries(answer.scores).sort((a, b) => held(b[0]) - held(a[0]) || b[1] - a[1]);
  const top = sorted.slice(0, Math.max(5, state.limits ? answer.labels.length : 0));
  at("bars").replaceChildren(...top.map(bar));
  at("warnings").replaceChildren(...answer.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = `Note: ${text}`;
    return item;
  }));
  at("thanks").textContent = "";
  at("feedback").hidden = false;
  at("label").value = "";
  for (const box of boxes()) box.checked = answer.labels.includes(box.value);
  at("wrong").disabled = true;
  at("result").hidden = false;
  say(`Answered in ${Math.max(1, Math.round(answer.milliseconds))} ms.`);
  at("verdict").focus({ preventScroll: true });
  at("result").scrollIntoView({ block: "nearest" });
}

function preview(file) {
  const image = at("preview");
  URL.revokeObjectURL(image.src);
  image.onload = () => image.classList.toggle("small", image.naturalWidth < 128);
  image.onerror = () => { image.alt = "This browser cannot show the picture"; };
  image.alt = `The picture you chose: ${file.name || "pasted"}`;
  image.src = URL.createObjectURL(file);
}

async function send(file) {
  if (!file) return;
  state.file = file;
  at("result").hidden = true;
  preview(file);
  say("Looking at it …");
  const form = new FormData();
  form.append("file", file, file.name || "pasted");
  try {
    const answer = await ask("/predict?source=page", { method: "POST", body: form });
    if (file === state.file) show(answer);
  } catch (error) {
    if (file === state.file) say("", error.message);
  }
}

function boxes() {
  return [...at("choices").querySelectorAll("input")];
}

function choice(name) {
  const [label, box, text] = ["label", "input", "span"].map((tag) => document.createElement(tag));
  [box.type, box.value, text.textContent] = ["checkbox", name, name];
  label.append(box, text);
  return label;
}

async function tell(label) {
  const body = JSON.stringify({ id: state.answer.id, label });
  try {
    await ask("/feedback", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    at("feedback").hidden = true;
    const kept = Array.isArray(label) ? label.join(", ") || "none of these classes" : label;
    at("thanks").textContent = `Thank you: kept as “${kept}”.`;
  } catch (error) {
    at("thanks").textContent = error.message;
  }
}

for (const id of ["file", "camera"]) {
  at(id).addEventListener("change", (event) => {
    send(event.target.files[0]);
    event.target.value = "";
  });
}
for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) {
  document.addEventListener(type, () => at("drop").classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) send(file);
  else say("", "That was no file: drop a picture from a folder.");
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) send(file);
});
at("right").addEventListener("click", () => tell(state.limits ? state.answer.labels : state.answer.label));
at("wrong").addEventListener("click", () => {
  tell(state.limits ? boxes().filter((box) => box.checked).map((box) => box.value) : at("label").value);
});
at("label").addEventListener("change", () => { at("wrong").disabled = !at("label").value; });
at("choices").addEventListener("change", () => {
  at("wrong").disabled = boxes().every((box) => box.checked === state.answer.labels.includes(box.value));
});
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = at("token").value;
  at("token-form").hidden = true;
  if (state.file) send(state.file);
});

ask("/model").then((model) => {
  at("label").replaceChildren(...["", ...model.classes].map((name) => new Option(name || "choose …", name)));
  if (model.multi_label) {
    state.limits = Object.fromEntries(model.classes.map((name, k) => [name, model.thresholds[k]]));
    at("choices").append(...model.classes.map(choice));
    for (const id of ["label", "label-name"]) at(id).hidden = true;
    at("choices").hidden = false;
  }
  const task = model.multi_label ? "says which of" : "tells";
  const end = model.multi_label ? "a picture shows" : "apart";
  at("about").textContent =
    `The model on this machine ${task} ${model.classes.length} classes ${end}. Pictures are answered and not kept.`;
  at("model").textContent = `Model ${model.bundle} of run ${model.run}, sha256 ${model.model_sha256.slice(0, 12)}`;
}).catch((error) => say("", error.message));
