import { longestCallMs } from '../../src/ports/call-times.ts';

/**
 * Scenes of which a call of the port `name` that takes longer than `longestCallMs` fails the test. `run` and `watch` last until their
 * signal aborts.
 */
export function timedScenes<S extends object>(makeScene: () => Promise<S>, name: keyof S): () => Promise<S> {
  return async () => {
    const scene = await makeScene();
    const port = inTime(scene[name] as object);
    return new Proxy(scene, { get: (target, key) => (key === name ? port : (Reflect.get(target, key) as unknown)) });
  };
}

function inTime<T extends object>(port: T): T {
  return new Proxy(port, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function' || name === 'run' || name === 'watch') return value;
      return (...args: readonly unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        return result instanceof Promise ? limited(result, String(name)) : result;
      };
    },
  });
}

async function limited<R>(call: Promise<R>, name: string): Promise<R> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`${name} has not ended after ${longestCallMs} ms`)),
    longestCallMs,
  );
  try {
    return await Promise.race([call, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** How long the fastest of three calls takes, in ms: the machine may be busy with other work at one of them. */
export async function fastestMs(call: () => Promise<unknown>): Promise<number> {
  const tookMs: number[] = [];
  while (tookMs.length < 3) {
    const begunMs = performance.now();
    await call();
    tookMs.push(performance.now() - begunMs);
  }
  return Math.min(...tookMs);
}
