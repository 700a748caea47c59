// Record the painted webcam in the browser alone. The first press begins, the second one downloads the film.
() => {
  const box = document.querySelector('#live');
  if (box.recorder) {
    box.recorder.stop();
    return 'Record';
  }
  const first = box.querySelector('img');
  if (!first) return 'Record';
  const canvas = document.createElement('canvas');
  canvas.width = first.naturalWidth;
  canvas.height = first.naturalHeight;
  const draw = async () => {
    const image = box.querySelector('img');
    if (!image) return;
    await image.decode().catch(() => {});
    canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  };
  const kind = ['video/mp4;codecs=avc1.42E01E', 'video/webm'].find((each) => MediaRecorder.isTypeSupported(each));
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: kind, videoBitsPerSecond: 4e6 });
  const watcher = new MutationObserver(draw);
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    watcher.disconnect();
    box.recorder = null;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob(parts, { type: kind }));
    link.download = kind.startsWith('video/mp4') ? 'webcam.mp4' : 'webcam.webm';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  watcher.observe(box, { childList: true, subtree: true, attributes: true, attributeFilter: ['src'] });
  box.recorder = recorder;
  recorder.start();
  draw();
  return 'Stop and download';
}
