import { parseFrontend, type ProcessInfo } from './answers.ts';
import { connectionsForServices, type ProgramId, parseDescription } from '../config/config.ts';

/** What HAProxy accepts for Services. Commands on its socket can change that; no process does it by itself. */
export const acceptanceCommand = 'show stat services 1 -1';

/** Its listeners are closed for good: only another worker opens them again. */
export function isShut(answer: string): boolean {
  return parseFrontend(answer)?.status === 'STOP';
}

/** The commands that restore what the configuration says. `program`: the one of which the limits are known. */
export function acceptanceRepairs(info: ProcessInfo, answer: string, program: ProgramId): readonly string[] {
  const frontend = parseFrontend(answer);
  const { maxConnections, hardMaxConnections } = info;
  const most = connectionsForServices(hardMaxConnections);
  const isKnown = parseDescription(info.description) === program;
  return [
    ...(maxConnections === hardMaxConnections ? [] : [`set maxconn global ${hardMaxConnections}`]),
    ...(isKnown && frontend !== undefined && frontend.maxConnections !== most
      ? [`set maxconn frontend services ${most}`]
      : []),
    ...(frontend?.status === 'PAUSED' ? ['enable frontend services'] : []),
  ];
}
