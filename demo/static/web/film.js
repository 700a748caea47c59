// A film, painted frame by frame: read, encoded and written by mediabunny, with WebCodecs.
const SIDE = 640; // the longest side of its frames, in pixels
const even = (length) => Math.max(2, Math.round(length / 2) * 2);

// The painted film as {blob, width, height, silent}. `paint` is given a canvas and returns one; `done` is given the
// share that is done, and may throw.
export const paintFilm = async (file, paint, done) => {
  if (!self.VideoEncoder) throw new Error('This browser cannot encode films; use a newer one.');
  const { ALL_FORMATS, BlobSource, BufferTarget, Conversion, getFirstEncodableVideoCodec, Input, Mp4OutputFormat, Output, QUALITY_HIGH } = await import('./media/mediabunny.min.mjs');
  const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS });
  const track = await input.getPrimaryVideoTrack().catch(() => null);
  if (!track || !(await track.canDecode())) throw new Error(`${file.name} is not a film that this browser can read; choose an MP4 or WebM.`);
  const scale = Math.min(1, SIDE / Math.max(track.displayWidth, track.displayHeight));
  const [width, height] = [track.displayWidth, track.displayHeight].map((length) => even(length * scale));
  const output = new Output({ format: new Mp4OutputFormat({ fastStart: 'in-memory' }), target: new BufferTarget() });
  const codec = await getFirstEncodableVideoCodec(output.format.getSupportedVideoCodecs(), { width, height });
  let stopped = null;
  const conversion = await Conversion.init({
    input,
    output,
    tracks: 'primary',
    showWarnings: false,
    video: {
      codec, width, height, fit: 'fill', quality: QUALITY_HIGH, forceTranscode: true, allowTransformationMetadata: false,
      process: async (sample) => {
        const canvas = new OffscreenCanvas(width, height);
        sample.draw(canvas.getContext('2d', { willReadFrequently: true }), 0, 0, width, height);
        return paint(canvas);
      },
    },
  });
  if (!codec || !conversion.isValid) throw new Error(`This browser cannot encode ${file.name}; use a newer one.`);
  conversion.onProgress = (share) => {
    done(share).catch((error) => { stopped = error; conversion.cancel(); });
  };
  await conversion.execute().catch((error) => { throw stopped ?? error; });
  const silent = conversion.discardedTracks.some((each) => each.track.type === 'audio');
  return { blob: new Blob([output.target.buffer], { type: 'video/mp4' }), width, height, silent };
};
