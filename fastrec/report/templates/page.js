const button = document.querySelector("[data-code]");
const folds = document.querySelectorAll("details.code");
if (button && folds.length) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = [...folds].some((fold) => !fold.open);
    folds.forEach((fold) => { fold.open = open; });
    button.textContent = open ? "Hide the code" : "Show the code";
  });
}
