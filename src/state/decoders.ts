import * as z from 'zod';
import { type Ip, parseIp } from '../core/ip/ip.ts';
import { type IpRange, parseRange } from '../core/ip/range.ts';

export const ipText: z.ZodType<Ip, string> = textOf(parseIp, 'an IP address');
export const rangeText: z.ZodType<IpRange, string> = textOf(parseRange, 'a range of addresses');
export const port: z.ZodType<number, number> = z.int().min(1).max(65_535);

function textOf<T>(parse: (text: string) => T | undefined, what: string): z.ZodType<T, string> {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: `${text} is not ${what}` });
    return z.NEVER;
  });
}
