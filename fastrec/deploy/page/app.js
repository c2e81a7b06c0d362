"use strict";
// Everything shown goes through textContent: labels, file names and messages are other people's text.

const at = (id) => document.getElementById(id);
const state = { id: null, classes: [], token: "", file: null };

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
  return item;
}

function show(answer) {
  state.id = answer.id;
  at("verdict").textContent = answer.label;
  at("certainty").textContent = `The model is ${inWords(answer.score)} (${percent(answer.score)}).`;
  const top = Object.entries(answer.scores).sort((a, b) => b[1] - a[1]).slice(0, 5);
  at("bars").replaceChildren(...top.map(bar));
  at("warnings").replaceChildren(...answer.warnings.map((text) => {
    const item = document.createElement("li");
    item.textContent = `Note: ${text}`;
    return item;
  }));
  at("thanks").textContent = "";
  at("feedback").hidden = false;
  at("label").value = "";
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

async function tell(label) {
  const body = JSON.stringify({ id: state.id, label });
  try {
    await ask("/feedback", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    at("feedback").hidden = true;
    at("thanks").textContent = `Thank you: kept as “${label}”.`;
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
at("right").addEventListener("click", () => tell(at("verdict").textContent));
at("wrong").addEventListener("click", () => tell(at("label").value));
at("label").addEventListener("change", () => { at("wrong").disabled = !at("label").value; });
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = at("token").value;
  at("token-form").hidden = true;
  if (state.file) send(state.file);
});

ask("/model").then((model) => {
  at("label").replaceChildren(...["", ...model.classes].map((name) => new Option(name || "choose …", name)));
  at("about").textContent =
    `The model on this machine tells ${model.classes.length} classes apart. Pictures are answered and not kept.`;
  at("model").textContent = `Model ${model.bundle} of run ${model.run}, sha256 ${model.model_sha256.slice(0, 12)}`;
}).catch((error) => say("", error.message));
