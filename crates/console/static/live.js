// Keeps a page fresh: replaces the parts that changed, and says so when it cannot. Without this script
// every page is complete and true for the moment it was drawn.
(() => {
  const url = document.body.dataset.live;
  if (!url || !window.EventSource) return;
  const pulse = document.getElementById("pulse");
  const words = pulse.querySelector(".pulse-words");
  const time = pulse.querySelector("time");
  let lost;

  const state = (name, text) => {
    pulse.dataset.state = name;
    words.textContent = text;
  };

  // A part that is being read or used with the keyboard keeps its place and its open details.
  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const fresh = holder.content.firstElementChild;
    const before = new Set([...old.querySelectorAll("li a[href]")].map((a) => a.getAttribute("href")));
    old.replaceWith(fresh);
    if (before.size > 0) {
      for (const link of fresh.querySelectorAll("li a[href]")) {
        if (!before.has(link.getAttribute("href"))) link.closest("li").classList.add("fresh");
      }
    }
    if (focused) {
      const again = [...fresh.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const source = new EventSource(url);
  source.addEventListener("open", () => {
    clearTimeout(lost);
    state("live", "live, ");
  });
  source.addEventListener("section", (event) => {
    const part = JSON.parse(event.data);
    replace(part.id, part.html);
  });
  source.addEventListener("clock", (event) => {
    const clock = JSON.parse(event.data);
    time.dateTime = clock.at;
    time.textContent = clock.words;
    if (pulse.dataset.state !== "live") state("live", "live, ");
  });
  source.addEventListener("trouble", (event) => state("lost", event.data + " As of "));
  source.addEventListener("error", () => {
    clearTimeout(lost);
    lost = setTimeout(() => state("lost", "connection lost, as of "), 4000);
  });
})();
