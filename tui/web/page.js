"use strict";

// After textual.js has made the terminal: keys are for it without a click.
window.addEventListener("load", () => document.querySelector(".xterm-helper-textarea")?.focus());
document.getElementById("again").addEventListener("click", () => window.location.reload());
