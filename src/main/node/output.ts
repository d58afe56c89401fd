import type { Writable } from 'node:stream';

/**
 * Without a listener an error of standard output or standard error ends the process: a full disk under the log would
 * end what serves. Nobody can be told of a log that cannot be written; `onLost` is for answers that got lost. A reader
 * that went away (`| head`) has what it wanted.
 */
export function tolerateErrors(stream: Writable, onLost: (error: Error) => void = () => undefined): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') onLost(error);
  });
}
