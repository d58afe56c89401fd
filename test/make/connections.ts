import type { Sockets } from '../../src/dataplane/haproxy/runtime/client.ts';

/** Connections to the runtime API that make a request for each question. */
export function connectionsBy(request: Sockets['request']): Sockets['connect'] {
  return (path) => ({
    exchange: async (text, _prompts, signal) => {
      const isFirst = text.startsWith('prompt\n');
      const dialogue = await request(path, `${isFirst ? '' : 'prompt\n'}${text}quit\n`, signal);
      return isFirst ? dialogue : dialogue.slice('\n> '.length);
    },
    close: () => undefined,
  });
}
