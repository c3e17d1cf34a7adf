// The service worker: without a network connection, files are those of the last visit.
//
// With one, files always come from the server, so that a new version of the page is seen at once.

const CACHE = "hourglass";
// What is loaded before this is at work; everything else is kept when it is loaded.
const FIRST = [
  ".",
  "browser.js",
  "camera.js",
  "drawing.js",
  "engine.js",
  "icon.svg",
  "page.css",
  "page.js",
  "people.js",
  "results.js",
];

self.oninstall = (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FIRST)));
};

self.onactivate = (event) => event.waitUntil(self.clients.claim());

self.onfetch = (event) => {
  const { request } = event;
  if (request.method === "GET" && request.url.startsWith(self.registration.scope)) {
    event.respondWith(answer(request));
  }
};

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (!kept) throw error;
    return kept;
  }
}
