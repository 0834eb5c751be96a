"""What became of every recipient of every message that was ever whole in Pickup."""
import collections


class Ledger:
    """lost: recipients without any outcome. taken_twice: messages of which two were made. duplicates: messages
    and notices that were sent again. beyond: of these, more than the open connections allow, a crash."""

    def __init__(self, world, expected, crashes, connections):
        """expected: {token: {recipient: "delivered" | "returned" | "badmail" | "dropped"}}."""
        self.lost, self.taken_twice, self.duplicates, self.wrong = [], [], 0, []
        delivered, ids, notices = collections.Counter(), collections.defaultdict(set), collections.defaultdict(set)
        same_notice = collections.Counter()
        for delivery in world.sink.deliveries:
            if delivery.returned:
                same_notice[delivery.token, delivery.id] += 1
                for recipient in delivery.returned:
                    notices[delivery.token, recipient].add(delivery.id)
            else:
                delivered[delivery.token, delivery.recipient] += 1
                ids[delivery.token].add(delivery.id)
        bad, dropped = (collections.Counter(token for text in texts for token in expected
                                            if f"X-Token: {token}\r\n".encode() in text)
                        for texts in (world.badmail(), world.dropped()))
        for token, recipients in expected.items():
            for recipient, outcome in recipients.items():
                count = {"delivered": delivered[token, recipient], "returned": len(notices[token, recipient]),
                         "badmail": bad[token], "dropped": dropped[token]}
                if not sum(count.values()):
                    self.lost.append((token, recipient))
                elif not count[outcome]:
                    self.wrong.append((token, recipient, outcome, count))
                if count["returned"] > 1 or (outcome == "badmail" and count["badmail"] > 1) or count["dropped"] > 1:
                    self.taken_twice.append((token, recipient))
            # A transaction is of one message: its recipients are sent again together.
            self.duplicates += max(max(0, delivered[token, recipient] - 1) for recipient in recipients)
            if len(ids[token]) > 1:
                self.taken_twice.append((token, sorted(ids[token])))
        self.duplicates += sum(count - 1 for count in same_notice.values())
        self.beyond = max(0, self.duplicates - crashes * connections)

    def is_clean(self):
        return not (self.lost or self.taken_twice or self.beyond or self.wrong)

    def text(self):
        return (f"lost {self.lost} taken twice {self.taken_twice} beyond {self.beyond} "
                f"(duplicates {self.duplicates}) wrong {self.wrong}")
