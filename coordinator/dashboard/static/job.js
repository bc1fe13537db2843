/* The page of one job: looked at again and again while it moves; steered after a question. */
"use strict";

(function () {
    const page = document.getElementById("job-page");
    const job = page.dataset.job;
    const marks = {};
    const VERBS = {
        received: ["cancel"],
        processing: ["pause", "cancel"],
        paused: ["resume", "cancel"],
        failed: ["retry"],
        cancelled: ["retry"],
    };
    const ENDED = ["rejected", "succeeded", "failed", "cancelled"];
    const QUESTIONS = {
        cancel: ["Cancel this job?", "Nothing of it starts from now on. What is recorded stays, so it can be retried.", "Cancel the job", "btn-danger"],
        pause: ["Pause this job?", "Steps that run finish; none starts until you resume it.", "Pause the job", "btn-warning"],
        resume: ["Resume this job?", "It goes on with the steps that are ready.", "Resume the job", "btn-primary"],
        retry: ["Retry this job?", "It goes on from what is recorded: only what has not succeeded runs again.", "Retry the job", "btn-primary"],
    };
    let last = null;

    function at(id) { return document.getElementById(id); }

    function picture(name, svg) {
        const box = at("job-" + name);
        const left = box.scrollLeft;
        box.innerHTML = svg;  // made by the server, every word in it escaped
        box.scrollLeft = left;
        at("job-" + name + "-card").hidden = !svg;
    }

    function cells(texts) {
        const line = Batuta.element("tr");
        texts.forEach(function (content) {
            const cell = Batuta.element("td");
            if (content instanceof Node) { cell.appendChild(content); } else { cell.textContent = content; }
            line.appendChild(cell);
        });
        return line;
    }

    function stepOf(id) {
        return id.startsWith(job + ":") ? id.slice(job.length + 1) : id;
    }

    const SHOW = {
        graph: svg => picture("graph", svg),
        timeline: svg => picture("timeline", svg),
        flags: function (flags) {
            at("job-flags").replaceChildren(...flags.map(flag => cells([
                flag.check,
                Batuta.element("span", "badge " + (flag.valid ? "text-bg-success" : "text-bg-danger"), flag.valid ? "VALID" : "INVALID"),
                flag.reason,
                Batuta.element("span", "text-nowrap", Batuta.moment(flag.at_ms)),
            ])));
            at("job-flags-card").hidden = !flags.length;
        },
        errors: function (errors) {
            at("job-errors").replaceChildren(...errors.map(function (error, number) {
                const box = Batuta.element("details", "job-error");
                const head = Batuta.element("summary");
                head.appendChild(Batuta.element("strong", "", error.type));
                head.appendChild(document.createTextNode(" " + error.message));
                if (error.step) { head.appendChild(Batuta.element("code", "job-error-step", stepOf(error.step))); }
                box.appendChild(head);
                if (error.traceback) {
                    const trace = Batuta.element("pre", "detail-code");
                    trace.appendChild(Batuta.element("code", "", error.traceback));
                    box.appendChild(trace);
                }
                box.open = number === 0;
                return box;
            }));
            at("job-errors-card").hidden = !errors.length;
        },
        events: function (events) {
            at("job-events").replaceChildren(...events.map(event => cells([
                Batuta.element("span", "text-nowrap", Batuta.moment(event.at_ms)),
                event.event,
                Batuta.element("code", "", event.step),
                event.detail,
            ])));
            at("job-events-card").hidden = !events.length;
        },
    };

    function show(seen) {
        const now = seen.now_ms, of = seen.job;
        last = of;
        const state = [Batuta.badge(of.state)];
        if (of.reason) { state.push(Batuta.element("span", "job-reason", of.reason)); }
        at("job-state").replaceChildren(...state);
        const words = [Batuta.count(of.done) + " of " + Batuta.count(of.total) + " steps"];
        if (of.lost) { words.push(Batuta.count(of.lost) + " lost"); }
        if (of.running) { words.push(Batuta.count(of.running) + " running"); }
        if (of.retrying) { words.push(Batuta.count(of.retrying) + " waiting to be retried"); }
        progress(of, words.join(", "));
        at("job-kind").textContent = of.kind + (of.version ? ", version " + of.version : "");
        at("job-created").textContent = Batuta.moment(of.created_ms) + " (" + Batuta.age(now - of.created_ms) + " ago)";
        const began = of.started_ms || of.created_ms, ends = of.finished_ms || (of.started_ms ? now : null);
        at("job-took").textContent = ends ? Batuta.span(ends - began) + (of.finished_ms ? "" : " so far") : "—";
        const params = JSON.stringify(seen.params, null, 2);
        if (at("job-params").textContent !== params) { at("job-params").textContent = params; }
        at("job-params-card").hidden = params === "{}";
        Object.keys(SHOW).filter(name => name in seen).forEach(name => SHOW[name](seen[name]));
        Object.assign(marks, seen.marks);
        page.querySelectorAll("[data-verb]").forEach(function (button) {
            button.classList.toggle("d-none", !(VERBS[of.state] || []).includes(button.dataset.verb));
        });
        Batuta.setLive(true, ENDED.includes(of.state) ? "Ended" : "Live");
    }

    function progress(of, words) {
        const box = at("job-progress");
        if (!box.firstElementChild) {
            const made = Batuta.element("div", "job-bar job-bar-wide");
            made.appendChild(Batuta.bar(of));
            made.appendChild(Batuta.element("span", "job-words"));
            box.appendChild(made);
        }
        Batuta.setBar(box.querySelector(".progress"), of);
        box.querySelector(".job-words").textContent = words;
    }

    function pause() {
        if (!last) { return 2000; }
        const calm = ENDED.includes(last.state) ? 5000 : 1000;
        return last.total > 20000 ? 10 * calm : (last.total > 2000 ? 2 * calm : calm);
    }

    function toast(words, type) {
        const box = Batuta.element("div", "toast align-items-center border-0 text-bg-" + type);
        const row = Batuta.element("div", "d-flex");
        const close = Batuta.element("button", "btn-close btn-close-white me-2 m-auto");
        box.setAttribute("role", type === "danger" ? "alert" : "status");
        close.setAttribute("data-bs-dismiss", "toast");
        close.setAttribute("aria-label", "Close");
        row.appendChild(Batuta.element("div", "toast-body", words));
        row.appendChild(close);
        box.appendChild(row);
        at("toast-container").appendChild(box);
        box.addEventListener("hidden.bs.toast", () => box.remove());
        bootstrap.Toast.getOrCreateInstance(box, {delay: type === "danger" ? 10000 : 5000}).show();
    }

    show(JSON.parse(at("job-first").textContent));
    const again = Batuta.follow(async function () {
        const known = Object.values(marks).join(",");
        show(await Batuta.ask(Batuta.address("/jobs/live/", job) + "?known=" + known));
    }, pause);

    const question = at("job-question");
    const yes = at("job-question-yes");
    page.querySelectorAll("[data-verb]").forEach(button => button.addEventListener("click", function () {
        const [title, text, label, look] = QUESTIONS[button.dataset.verb];
        at("job-question-title").textContent = title;
        at("job-question-text").textContent = text;
        yes.textContent = label;
        yes.className = "btn " + look;
        yes.dataset.send = button.dataset.verb;
        bootstrap.Modal.getOrCreateInstance(question).show();
    }));
    yes.addEventListener("click", async function () {
        yes.disabled = true;
        try {
            toast((await Batuta.send(Batuta.address("/jobs/" + yes.dataset.send + "/", job))).message, "success");
        } catch (error) {
            toast(error.message, "danger");
        }
        yes.disabled = false;
        bootstrap.Modal.getOrCreateInstance(question).hide();
        again();
    });
    at("job-copy").addEventListener("click", async function () {
        await navigator.clipboard.writeText(job);
        toast("Copied " + job, "success");
    });
}());
