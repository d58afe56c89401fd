import pino from 'pino';
import type { Log } from '../../ports/log.ts';

export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof logLevels)[number];
export type LogFormat = 'json' | 'text';

export type LogOptions = {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly isColoured: boolean;
  readonly write: (text: string) => void;
};

/** Structured log on pino, without transports (they spawn a worker by file path, which a bundle does not have). */
export function makeLog({ level, format, isColoured, write }: LogOptions): Log {
  const destination = { write: format === 'json' ? write : (line: string) => write(humanLine(line, isColoured)) };
  return adapt(
    pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        serializers: { err: describeError },
      },
      destination,
    ),
  );
}

/** Errors that carry a code are failures of the world: their words tell all. A stack is for those that should not be. */
function describeError(error: unknown): unknown {
  if (error instanceof Error && 'code' in error) return { type: error.name, code: error.code, message: error.message };
  return error instanceof Error ? pino.stdSerializers.err(error) : error;
}

function adapt(logger: pino.Logger): Log {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (fields) => adapt(logger.child(fields)),
  };
}

const colours: Readonly<Record<string, string>> = {
  debug: '\u001b[2m',
  info: '',
  warn: '\u001b[33m',
  error: '\u001b[31m',
};
const plain = '\u001b[0m';

/** `18:02:11.345 WARN  message  service=lbtest/nginx reason=PortConflict`, for a person at a terminal. */
function humanLine(line: string, isColoured: boolean): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const error = err as { message?: string; stack?: string } | undefined;
  const shown = Object.entries(fields).map(
    ([name, value]) => `${name}=${typeof value === 'string' && !/\s/.test(value) ? value : JSON.stringify(value)}`,
  );
  const colour = isColoured ? (colours[String(level)] ?? '') : '';
  const head = `${String(time).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}`;
  const tail = [...shown, ...(error === undefined ? [] : [`error=${JSON.stringify(error.message)}`])].join(' ');
  return `${colour}${tail === '' ? head : `${head}  ${tail}`}${colour === '' ? '' : plain}\n`;
}
