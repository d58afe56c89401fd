import type { Writable } from 'node:stream';

/**
 * Keeps an error of standard output or standard error (a full disk under the log) from ending the process. Calls
 * `onLost` for answers that could not be written, but not if the reader has closed the pipe (`| head`).
 */
export function tolerateErrors(stream: Writable, onLost: (error: Error) => void = () => undefined): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') onLost(error);
  });
}
