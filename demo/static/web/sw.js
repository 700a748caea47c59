// Keeps the page's files for use without a network, and adds the headers that threads need where a host sets none.
const VERSION = 'stylecore-{version}';
const FIRST = [
  './', 'page.css', 'page.js', 'worker.js', 'pictures.js', 'tiles.js', 'film.js', 'styles.json', 'icon.svg', 'manifest.webmanifest',
  'fonts/SourceSansPro-Regular.woff2', 'fonts/SourceSansPro-Bold.woff2',
];
// The browser's own cache may still have files of an earlier version: the server says whether they changed.
const fresh = (file) => new Request(file, { cache: 'no-cache' });

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FIRST.map(fresh))));
});
self.addEventListener('activate', (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith('stylecore-') && name !== VERSION) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

const isolated = (answer) => {
  const headers = new Headers(answer.headers);
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  return new Response(answer.body, { status: answer.status, statusText: answer.statusText, headers });
};

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== self.location.origin) return;
  event.respondWith((async () => {
    const cache = await caches.open(VERSION);
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return isolated(kept);
    const answer = await fetch(fresh(request.url));
    if (answer.status === 200) await cache.put(request, answer.clone()).catch(() => {}); // no room is left
    return answer.status === 200 ? isolated(answer) : answer;
  })());
});

// After the first picture the page asks for the rest.
self.addEventListener('message', (event) => {
  event.waitUntil((async () => {
    const cache = await caches.open(VERSION);
    let kept = true;
    for (const file of event.data.keep) {
      if (!(await cache.match(file))) await cache.add(fresh(file)).catch(() => { kept = false; });
    }
    event.source.postMessage({ kept });
  })());
});
